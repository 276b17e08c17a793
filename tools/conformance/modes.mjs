// The ways to run a test: plain, through the stack, and with the hooks installed but nothing accelerated.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../files.mjs';
import { runTest } from './node-tests.mjs';

const REGISTER = join(ROOT, 'dist/compat/register.js');

/** By which port the ends of a test reach each other within their process. */
export const PORTS = {
  loopback: { MILLRACE_PORT: 'loopback' },
  ring: { MILLRACE_PORT: 'dpdk', MILLRACE_DPDK_ARGS: '--vdev=net_ring0' },
};

/** Plain Node. */
export function runPlain(test, context) {
  return runTest(test, { ...context, env: {} });
}

/**
 * Through the facade, children included. `used`: did a process of the test move anything through the stack, by its own
 * counters? A process that was killed has told nothing, so this is a lower bound.
 * @param {boolean} none with nothing accelerated
 */
export async function runHooked(test, context, none) {
  mkdirSync(context.scratch, { recursive: true });
  const reports = mkdtempSync(join(context.scratch, 'reports-'));
  const env = {
    NODE_OPTIONS: `--require "${REGISTER.replaceAll('\\', '\\\\')}"`,
    ...PORTS[context.port],
    MILLRACE_REPORT: join(reports, '%p.json'),
  };
  if (none) env.MILLRACE_ACCELERATE = '!*';
  try {
    const result = await runTest(test, { ...context, env });
    return { ...result, used: readdirSync(reports).some((name) => moved(join(reports, name))) };
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
}

function moved(path) {
  try {
    const { stack, udp } = JSON.parse(readFileSync(path, 'utf8')).counters;
    return stack.connections_opened + stack.connections_accepted + udp.udp_sent + udp.udp_received > 0;
  } catch {
    return false; // Its process was killed while it wrote.
  }
}
