import { compare } from './same/compare';
import { scenarios } from './same/complaints';

compare('complaints', scenarios);
