/** `import { createServer } from 'millrace/dgram'`: node:dgram itself, with the facade installed. */
import './dgram.js';

export * from 'node:dgram';
export { default } from 'node:dgram';
