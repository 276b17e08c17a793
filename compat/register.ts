/**
 * The preload entry: `node --require millrace/register`, `--import millrace/register`, or either in NODE_OPTIONS.
 *
 * It is loaded into every Node process that such a variable reaches, npm and compilers among them, so it is silent and
 * does next to nothing: the options are read here, for a wrong one must be an error before the program runs; the
 * stack, and what sockets of ours need, are loaded when the first such socket comes.
 */
import { activate } from './activate';

activate();
