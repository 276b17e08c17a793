/** `import { createServer } from 'millrace/net'`: node:net itself, with the facade installed. */
import './net.js';

export * from 'node:net';
export { default } from 'node:net';
