import './real';
import '../dgram.test';
