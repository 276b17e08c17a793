import { compare } from './same/compare';
import { scenarios } from './same/datagrams';

compare('datagrams', scenarios, [
  'what is wrong with a send',
  'refused',
  'sharing a port',
  'options',
  'multicast and broadcast',
  'reusePort',
]);
