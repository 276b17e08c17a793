/** `require('millrace/net')`: node:net itself, with the facade installed. */
import { activate } from './activate';

export * from 'node:net';

activate();

module.exports = require('node:net');
