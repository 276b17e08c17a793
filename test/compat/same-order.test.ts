import { compare } from './same/compare';
import { scenarios } from './same/order';

compare('order', scenarios);
