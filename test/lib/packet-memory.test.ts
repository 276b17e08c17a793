import t from 'tap';
import { loadOptions } from '../../lib/config';
import { OptionError } from '../../lib/errors';
import { packetMemoryOf } from '../../lib/packet-memory';
import { caught } from './caught';

const directory = '/nonexistent-directory';
const load = (env: Readonly<Record<string, string>>) =>
  loadOptions({ env: { MILLRACE_PORT: 'loopback', ...env }, directory });

t.test('what auto is', async (t) => {
  t.same(packetMemoryOf(load({})), { frames: 8192, frameBytes: 16_384 });
  t.same(packetMemoryOf(load({ MILLRACE_PORT: 'none' })), { frames: 32_768, frameBytes: 2048 });
  t.same(packetMemoryOf(load({ MILLRACE_FRAMES: '1024', MILLRACE_FRAME_BYTES: '4096' })), {
    frames: 1024,
    frameBytes: 4096,
  });
});

t.test('more than one ArrayBuffer holds is an error that names the option', async (t) => {
  t.same(packetMemoryOf(load({ MILLRACE_FRAMES: '262144' })).frames, 262_144, '4 GiB');
  const frames = caught(() => load({ MILLRACE_FRAMES: '262145' }));
  t.type(frames, OptionError);
  t.equal(
    frames.message,
    "MILLRACE_FRAMES is '262145': 262145 frames of 16384 bytes are too much memory; allowed: 4 GiB together with MILLRACE_FRAME_BYTES",
  );
  const both = { MILLRACE_FRAMES: '4194304', MILLRACE_FRAME_BYTES: '2048' };
  t.match(caught(() => load(both)).message, /^MILLRACE_FRAMES is '4194304': .* of 2048 bytes/);
});
