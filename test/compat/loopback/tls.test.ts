import './real';
import '../tls.test';
