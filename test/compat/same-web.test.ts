import { compare } from './same/compare';
import { scenarios } from './same/web';

compare('web', scenarios);
