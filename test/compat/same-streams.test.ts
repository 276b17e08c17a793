import { compare } from './same/compare';
import { scenarios } from './same/streams';

compare('streams', scenarios);
