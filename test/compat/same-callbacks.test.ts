import { compare } from './same/compare';
import { scenarios } from './same/callbacks';

compare('callbacks', scenarios);
