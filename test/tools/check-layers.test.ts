import t from 'tap';
import { loadTool, runTool } from './tool';

type Tree = { [name: string]: string | Tree };

/** What is said of one file in an otherwise empty tree. */
async function judge(test: Pick<typeof t, 'testdir'>, path: string, text: string): Promise<string[]> {
  const { checkLayers } = await loadTool<{ checkLayers(root: string): string[] }>('check-layers.mjs');
  const tree = path.split('/').reduceRight<string | Tree>((inner, name) => ({ [name]: inner }), text) as Tree;
  return checkLayers(test.testdir(tree));
}

const violations: [path: string, text: string, complaint: string][] = [
  ['native/wire/x.cc', '#include "packet/frame.h"', 'native/wire/x.cc:1: "packet/frame.h": wire may include base'],
  ['native/base/x.h', '\n#include "wire/seq.h"', 'native/base/x.h:2: "wire/seq.h": base may include nothing else'],
  ['native/tcp/x.cc', '#include "udp/udp.h"', '"udp/udp.h": tcp may include base, wire, packet, net'],
  ['native/udp/x.cc', '#include "tcp/tcp.h"', '"tcp/tcp.h": udp may include'],
  ['native/net/x.cc', '#include "port/loopback/loopback_port.h"', 'net may include base, wire, packet, port/port.h'],
  ['native/net/x.cc', '#include "stack/stack.h"', '"stack/stack.h": net may include'],
  ['native/port/af_xdp/x.cc', '#include "net/tables.h"', '"net/tables.h": port may include'],
  ['native/port/af_xdp/x.cc', '#include "port/loopback/loopback_port.h"', 'one port does not know another'],
  ['native/addon/x.cc', '#include "port/loopback/loopback_port.h"', 'addon may include'],
  ['native/stack/x.cc', '#include <napi.h>', 'napi.h: only native/addon knows Node'],
  ['native/stack/x.cc', '  #  include <uv.h>', 'uv.h: only native/addon'],
  ['native/tcp/x.cc', '#include <sys/socket.h>', '<sys/socket.h>: tcp makes no system calls'],
  ['native/tcp/x.cc', '#include <chrono>', '<chrono>: tcp makes no system calls and has no clock'],
  ['native/tcp/x.cc', '#include "input.h"', 'write includes from native/'],
  ['native/tcp/x.cc', '#include "../udp/udp.h"', 'write includes from native/'],
  ['native/quic/x.cc', '', 'native/quic is not a layer'],
  ['lib/x.ts', "import { a } from '../compat/net';", 'lib/x.ts:1: ../compat/net: lib does not know compat'],
  ['lib/cli/x.ts', "const a = require('../../compat/net');", 'lib does not know compat'],
  ['lib/x.ts', "import * as net from 'node:net';", 'node:net: lib does not use'],
  ['lib/x.ts', "import dgram = require('dgram');", 'dgram: lib does not use'],
  ['lib/x.ts', "await import('node:http')", 'node:http: lib does not use'],
  ['lib/x.ts', "const load = require('node-gyp-build')", 'only lib/binding.ts loads the addon'],
  ['compat/x.ts', "require('../build/Release/millrace.node')", 'only lib/binding.ts loads the addon'],
  ['compat/x.ts', "import {\n  a,\n} from '../lib/options';", 'compat imports lib/index and lib/engine only'],
  ['compat/net/x.ts', "export * from '../../lib/rings';", 'compat imports lib/index and lib/engine only'],
  ['compat/x.ts', "import { a } from '../lib/cli/run';", 'compat imports lib/index and lib/engine only'],
];

t.test('a planted violation is caught', async (t) => {
  for (const [path, text, complaint] of violations) {
    const problems = await judge(t, path, text);
    t.equal(problems.length, 1, `${path}: ${text}`);
    t.ok(problems[0]?.includes(complaint), `${problems[0]} says: ${complaint}`);
  }
});

const allowed: [path: string, text: string][] = [
  ['native/tcp/x.cc', '#include <cstdint>\n#include "tcp/tcp.h"\n#include "net/ip_layer.h"\n#include "base/result.h"'],
  ['native/net/x.cc', '#include "port/port.h"'],
  ['native/port/af_xdp/x.cc', '#include "port/port.h"\n#include "port/af_xdp/rings.h"\n#include <sys/socket.h>'],
  ['native/port/wrap/x.cc', '#include "port/wrap/fault_config.h"'],
  ['native/stack/x.cc', '#include "port/loopback/loopback_port.h"'],
  ['native/addon/x.cc', '#include <napi.h>\n#include <uv.h>\n#include "stack/stack.h"'],
  ['native/tcp/x.cc', '// #include <napi.h>\n/* #include "udp/udp.h" */'],
  ['lib/binding.ts', "const load = require('node-gyp-build')"],
  ['lib/cli/x.ts', "import { a } from '../options';\nimport { join } from 'node:path';"],
  ['lib/x.ts', "// import net from 'node:net'"],
  ['compat/x.ts', "import { stats } from '../lib/index';\nimport net from 'node:net';\nimport { b } from './y';"],
  ['compat/net/x.ts', "import { type Engine, NOT_OURS } from '../../lib/engine';"],
];

t.test('what the table allows is let pass', async (t) => {
  for (const [path, text] of allowed) t.same(await judge(t, path, text), [], `${path}: ${text}`);
});

t.test('as a program', async (t) => {
  const good = t.testdir({ lib: { 'x.ts': '' } });
  t.same(runTool('check-layers.mjs', good), { code: 0, stdout: 'layers: ok\n', stderr: '' });
  const bad = runTool('check-layers.mjs', t.testdir({ lib: { 'x.ts': "import '../compat/net';" } }));
  t.match(bad, { code: 1, stderr: /^lib\/x\.ts:1: / });
});
