import './real';
import '../http.test';
