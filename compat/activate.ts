/** Joins the facade and the library: the hooks ask the library's policy, and its engine for sockets that are wanted. */
import type { Gate } from './gate';
import { install } from './install';

/** Installs the facade over the library's engine, unless that is off (`MILLRACE=off`). @throws OptionError */
export function activate(): void {
  if (/^(?:off|0|false|no)$/i.test(process.env['MILLRACE'] ?? '')) return;
  const { acquireEngine, configure, leave, mayWant, wants } = require('../lib/index') as typeof import('../lib/index');
  const { options } = configure();
  if (!options.enabled || options.port === 'none') return;
  const gate: Gate = { wants, mayWant, leave, sharesPorts: options.port !== 'loopback', acquire: acquireEngine };
  install(gate);
}
