import { compare } from './same/compare';
import { scenarios } from './same/servers';

compare('servers', scenarios, ['net.BoundSocket, adopted by a server and by a socket', 'listening errors']);
