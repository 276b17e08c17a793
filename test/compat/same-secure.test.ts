import { compare } from './same/compare';
import { scenarios } from './same/secure';

compare('secure', scenarios);
