import { compare } from './same/compare';
import { scenarios } from './same/complaints';

compare('complaints', scenarios, ['sockets of the file system are not TCP']);
