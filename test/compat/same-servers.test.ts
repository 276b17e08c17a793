import { compare } from './same/compare';
import { scenarios } from './same/servers';

compare('servers', scenarios);
