import { compare } from './same/compare';
import { scenarios } from './same/datagrams';

compare('datagrams', scenarios);
