import t from 'tap';
import type { NativeTcpInfo } from '../../lib/binding';
import { toConnectionInfo } from '../../lib/connection-info';

const NATIVE: NativeTcpInfo = {
  state: 1,
  congestion: 'cubic',
  mssBytes: 1448,
  congestionWindowBytes: 14_480,
  slowStartThresholdBytes: 0xffff_ffff,
  pacingBytesPerS: 0,
  rttUs: 20_000,
  rttVarianceUs: 5000,
  rttMinUs: 19_000,
  rtoUs: 220_000,
  sendWindowBytes: 65_535,
  receiveWindowBytes: 262_144,
  bytesSent: 10,
  bytesAcknowledged: 9,
  bytesReceived: 8,
  bytesRetransmitted: 7,
  segmentsSent: 6,
  segmentsReceived: 5,
  segmentsRetransmitted: 4,
};

t.test('what there is not is null, the rest as it is', async (t) => {
  const info = toConnectionInfo(NATIVE);
  t.same(info, { ...NATIVE, state: 'ESTABLISHED', slowStartThresholdBytes: null, pacingBytesPerS: null });
  const other = toConnectionInfo({ ...NATIVE, slowStartThresholdBytes: 2896, pacingBytesPerS: 1e6 });
  t.match(other, { slowStartThresholdBytes: 2896, pacingBytesPerS: 1e6 });
});

t.test('names', async (t) => {
  for (const [congestion, name] of [
    ['cubic', 'cubic'],
    ['reno', 'newreno'],
    ['bbr', 'bbr'],
  ] as const) {
    t.equal(toConnectionInfo({ ...NATIVE, congestion }).congestion, name);
  }
  // Linux's numbers: include/net/tcp_states.h
  const states = ['ESTABLISHED', 'SYN-SENT', 'SYN-RECEIVED', 'FIN-WAIT-1', 'FIN-WAIT-2', 'TIME-WAIT', 'CLOSED'];
  states.push('CLOSE-WAIT', 'LAST-ACK', 'LISTEN', 'CLOSING');
  for (const [i, state] of states.entries()) t.equal(toConnectionInfo({ ...NATIVE, state: i + 1 }).state, state);
});
