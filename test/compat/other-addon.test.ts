/** Another addon that polls libuv beside ours, in the same loop: a descriptor, prepare, check and idle handles. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';

const REGISTER = join(__dirname, '../../compat/register.js');
const HEADERS = ['/usr/include/node', join(dirname(process.execPath), '../include/node')].find((folder) =>
  existsSync(join(folder, 'uv.h')),
);

const SOURCE = `
#include <node_api.h>
#include <uv.h>
#include <atomic>
#include <initializer_list>
#include <thread>
#include <unistd.h>

static uv_poll_t poll_;
static uv_prepare_t prepare;
static uv_check_t check;
static uv_idle_t idle;
static int ends[2];
static std::atomic<bool> stopping;
static std::thread writer;
static uint32_t polls, prepares, checks, idles;

static napi_value start(napi_env env, napi_callback_info) {
  uv_loop_t* loop;
  napi_get_uv_event_loop(env, &loop);
  if (pipe(ends) != 0) return nullptr;
  writer = std::thread([] {
    while (!stopping) {
      if (write(ends[1], "x", 1) != 1) return;
      usleep(500);
    }
  });
  uv_poll_init(loop, &poll_, ends[0]);
  uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t*, int, int) {
    char bytes[64];
    if (read(ends[0], bytes, sizeof bytes) > 0) ++polls;
    // Now and then the loop must not block for a while.
    if (polls % 16 == 0) uv_idle_start(&idle, [](uv_idle_t* h) { if (++idles % 8 == 0) uv_idle_stop(h); });
  });
  uv_prepare_init(loop, &prepare);
  uv_prepare_start(&prepare, [](uv_prepare_t*) { ++prepares; });
  uv_check_init(loop, &check);
  uv_check_start(&check, [](uv_check_t*) { ++checks; });
  uv_idle_init(loop, &idle);
  return nullptr;
}

static napi_value stop(napi_env env, napi_callback_info) {
  stopping = true;
  writer.join();
  for (void* handle : {(void*)&poll_, (void*)&prepare, (void*)&check, (void*)&idle}) {
    uv_close((uv_handle_t*)handle, nullptr);
  }
  napi_value list;
  napi_create_array(env, &list);
  uint32_t i = 0;
  for (uint32_t count : {polls, prepares, checks, idles}) {
    napi_value value;
    napi_create_uint32(env, count, &value);
    napi_set_element(env, list, i++, value);
  }
  return list;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "start", NAPI_AUTO_LENGTH, start, nullptr, &function);
  napi_set_named_property(env, exports, "start", function);
  napi_create_function(env, "stop", NAPI_AUTO_LENGTH, stop, nullptr, &function);
  napi_set_named_property(env, exports, "stop", function);
  return exports;
}
`;

const PROGRAM = `
const net = require('node:net');
const other = require('./other.node');
other.start();
let timers = 0, immediates = 0, rounds = 0;
const timer = setInterval(() => timers++, 1);
const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
  const message = Buffer.alloc(10_000, 'm');
  const client = net.connect(server.address().port, '127.0.0.1');
  let left = 0;
  const end = Date.now() + 1500;
  const again = () => {
    if (Date.now() > end) return void finish(client);
    left = message.length;
    rounds++;
    client.write(message);
  };
  client.on('connect', again).on('data', (data) => {
    left -= data.length;
    if (left === 0) setImmediate(() => { immediates++; again(); });
  });
});
function finish(client) {
  const [polls, prepares, checks, idles] = other.stop();
  clearInterval(timer);
  const ours = client._handle.fd === -1;
  client.destroy();
  server.close(() => console.log(JSON.stringify({ ours, rounds, timers, immediates, polls, prepares, checks, idles })));
}
`;

function compiler(): boolean {
  try {
    execFileSync('g++', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const skip = HEADERS === undefined ? 'needs the headers of Node' : compiler() ? false : 'needs g++';

t.test('two addons in one loop', { skip }, async (t) => {
  const folder = t.testdir({ 'other.cc': SOURCE, 'program.js': PROGRAM });
  const args = ['-std=c++17', '-O1', '-shared', '-fPIC', '-DNAPI_VERSION=8', '-I', HEADERS ?? ''];
  execFileSync('g++', [...args, '-o', join(folder, 'other.node'), join(folder, 'other.cc'), '-pthread']);
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:MILLRACE|NODE_OPTIONS|TAP)/.test(name));
  const env = { ...Object.fromEntries(inherited), MILLRACE_PORT: 'loopback' };
  const run = promisify(execFile);
  const { stdout, stderr } = await run(process.execPath, ['--require', REGISTER, join(folder, 'program.js')], {
    env,
    timeout: 25_000, // it has to end by itself
  });
  t.equal(stderr, '');
  const seen = JSON.parse(stdout) as Record<string, number | boolean>;
  t.comment(stdout.trim());
  t.equal(seen['ours'], true, 'the connection was one of the stack');
  for (const name of ['rounds', 'timers', 'immediates', 'polls', 'prepares', 'checks', 'idles']) {
    t.ok((seen[name] as number) >= 10, `${name}: ${String(seen[name])}`);
  }
});
