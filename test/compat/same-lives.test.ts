import { compare } from './same/compare';
import { scenarios } from './same/lives';

compare('lives', scenarios);
