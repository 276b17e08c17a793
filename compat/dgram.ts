/** `require('millrace/dgram')`: node:dgram itself, with the facade installed. */
import { activate } from './activate';

export * from 'node:dgram';

activate();

module.exports = require('node:dgram');
