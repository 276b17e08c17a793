/** TCP's facts of a connection, from the addon's numbers to what programs get. */
import type { NativeTcpInfo } from './binding';
import type { ConnectionInfo, ConnectionState } from './engine';

/** By Linux's numbers (TCP_ESTABLISHED is 1). */
const STATES: readonly ConnectionState[] = [
  'CLOSED',
  'ESTABLISHED',
  'SYN-SENT',
  'SYN-RECEIVED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'TIME-WAIT',
  'CLOSED',
  'CLOSE-WAIT',
  'LAST-ACK',
  'LISTEN',
  'CLOSING',
];

const NO_THRESHOLD = 0xffff_ffff;

export function toConnectionInfo(native: NativeTcpInfo): ConnectionInfo {
  return {
    ...native,
    state: STATES[native.state] ?? 'CLOSED',
    congestion: native.congestion === 'bbr' ? 'bbr' : native.congestion === 'reno' ? 'newreno' : 'cubic',
    slowStartThresholdBytes: native.slowStartThresholdBytes === NO_THRESHOLD ? null : native.slowStartThresholdBytes,
    pacingBytesPerS: native.pacingBytesPerS === 0 ? null : native.pacingBytesPerS,
  };
}
