// The tests that are known to differ from plain Node, each with its reason.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../files.mjs';
import { differs } from './compare.mjs';

export const EXPECTATIONS = join(ROOT, 'test/conformance/expectations.json');

/** Of the tests that pass under plain Node. */
const SHARE_MAX = 0.01;

/** Bits of capabilities(7). */
const CAPABILITIES = { CAP_NET_ADMIN: 12 };

/** True when the programs that are started here have it. */
function hasCapability(name) {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'latin1') : '';
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return ((effective >> BigInt(CAPABILITIES[name])) & 1n) === 1n;
}

/** Those that hold here: one with `without` only where that capability is missing. */
export function expectedHere(expectations, has = hasCapability) {
  return expectations.filter(({ without }) => without === undefined || !has(without));
}

/** @returns {{test: string, nodes: number[], without?: string, reason: string}[]} */
export function readExpectations(path = EXPECTATIONS) {
  if (!existsSync(path)) return [];
  const list = JSON.parse(readFileSync(path, 'utf8'));
  const seen = new Set();
  for (const { test, nodes, without, reason } of list) {
    const named =
      /^(?:parallel|sequential|async-hooks|es-module|report)\/test-[\w.-]+$/.test(test) &&
      Array.isArray(nodes) &&
      nodes.length > 0;
    const good = named && (without === undefined || without in CAPABILITIES);
    if (!good || typeof reason !== 'string' || reason.length < 20 || seen.has(test)) {
      throw new Error(`${path}: bad or repeated entry for ${test}: it has test, nodes (majors) and reason, in words`);
    }
    seen.add(test);
  }
  return list;
}

/** Names of the tests that are expected to differ on this major version. */
export function expectedOn(major, expectations) {
  return new Set(expectations.filter(({ nodes }) => nodes.includes(major)).map(({ test }) => test));
}

/**
 * Splits the differences: `expected`, `unexpected`, and `stale`: expected ones that ran and did not differ. `tooMany` is
 * true when more differ than may.
 */
export function judge(results, expectations, major) {
  const known = new Map(expectations.filter(({ nodes }) => nodes.includes(major)).map((entry) => [entry.test, entry]));
  const judged = { expected: [], unexpected: [], stale: [], unsteady: [], tooMany: false };
  for (const result of results) {
    const entry = known.get(result.test);
    if (result.unsteady) judged.unsteady.push(result);
    if (differs(result)) {
      if (entry === undefined) judged.unexpected.push(result);
      else judged.expected.push({ ...result, reason: entry.reason });
    } else if (entry !== undefined && !result.unsteady && result.plain === 'pass') judged.stale.push(result);
  }
  const passed = results.filter((result) => result.plain === 'pass').length;
  judged.tooMany = judged.expected.length > Math.max(passed * SHARE_MAX, 0);
  return judged;
}
