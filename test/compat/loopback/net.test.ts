import './real';
import '../net.test';
