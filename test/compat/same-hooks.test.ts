import { compare } from './same/compare';
import { scenarios } from './same/hooks';

compare('hooks', scenarios);
