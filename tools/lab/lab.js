// SPDX-License-Identifier: MIT
// Two hosts on one machine: two network namespaces joined by a veth pair, or by two pairs with a lossy bridge in
// between. Everything is named by the process that owns it, bounded in time, and taken down whatever happens: at
// close(), at exit, at a signal, and, should this process be killed outright, by the next lab that opens.
// LAB_PORT (ports.js) says what joins them instead.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Job, run, must, sleep, cleanEnvironment, kPatience } = require('./jobs.js');
const { kFolderPrefix, kPrefix, destroyNamespace, sweep } = require('./namespaces.js');
const { nativeTool } = require('./native-tools.js');
const { MemoryWire } = require('./memory-wire.js');
const { port, portOptions } = require('./ports.js');

const root = path.resolve(__dirname, '../..');
const register = path.join(root, 'dist/compat/register.js');

/** On the wire: an MTU of 1500 and the Ethernet header. */
const kFrameBytes = 1514;

const openLabs = new Set();
let serial = 0;
let guarded = false;

function guard() {
  if (guarded) return;
  guarded = true;
  process.on('exit', () => {
    for (const lab of openLabs) lab.closeNow();
  });
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ]) {
    process.on(signal, () => process.exit(128 + number));
  }
  process.on('uncaughtExceptionMonitor', () => {
    for (const lab of openLabs) lab.closeNow();
  });
}

/**
 * Opens a lab. Options: `queues` (of each end of the link, 1), `offload` (leave segmentation and checksum offload on),
 * `mtu`, `congestion` (cubic), `bridge` (the bridge's own switches: seed, loss, dup, reorder, corrupt, in per cent, or
 * false), `netem` (the kernel's own bridge stands in between; setPath() says what it does to packets), `devices` (two of
 * the machine's own that are wired together, in place of the veth pair: only in a guest, they lose their addresses),
 * `vlan` (both ends are this VLAN of the wire). Needs root.
 */
async function openLab(options = {}) {
  guard();
  sweep();
  const lab = new Lab(options);
  openLabs.add(lab);
  try {
    await lab.build();
  } catch (error) {
    await lab.close();
    throw error;
  }
  return lab;
}

class Lab {
  constructor(options) {
    this.options = options;
    const number = ++serial;
    const base = `${kPrefix}${process.pid}-${number}`;
    // Interface names have 15 characters at most; inside a namespace of our own they need not be unique.
    this.mill = { namespace: `${base}-mill`, interface: 'fast0', ipv4: '10.77.0.1', ipv6: 'fd77::1' };
    this.peer = { namespace: `${base}-peer`, interface: 'peer0', ipv4: '10.77.0.2', ipv6: 'fd77::2' };
    this.wire = { namespace: `${base}-wire`, interface: 'wire0' };
    this.jobs = new Set();
    this.memory = port.oneAtATime ? new MemoryWire(this) : null;
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), `${kFolderPrefix}${process.pid}-`));
    this.files = 0;
    this.closed = false;
  }

  async build() {
    const { mill, peer, wire } = this;
    const bridged = Boolean(this.options.bridge) || Boolean(this.options.netem);
    for (const side of bridged ? [mill, peer, wire] : [mill, peer]) {
      await must('ip', ['netns', 'add', side.namespace]);
      await must('ip', ['-n', side.namespace, 'link', 'set', 'lo', 'up']);
    }
    const count = String(this.options.queues ?? 1);
    const queues = ['numrxqueues', count, 'numtxqueues', count];
    const end = (side, name) => ['name', name, 'netns', side.namespace, ...queues];
    const join = (a, nameA, b, nameB) =>
      must('ip', ['link', 'add', ...end(a, nameA), 'type', 'veth', 'peer', ...end(b, nameB)]);
    if (this.memory) {
      await this.memory.join(bridged);
    } else if (this.options.devices) {
      await this.takeDevices(this.options.devices);
    } else if (bridged) {
      await join(mill, mill.interface, wire, 'wire0');
      await join(peer, peer.interface, wire, 'wire1');
      for (const name of ['wire0', 'wire1']) await this.raise(wire, name);
    } else {
      await join(mill, mill.interface, peer, peer.interface);
    }
    for (const side of [mill, peer]) {
      if (this.options.vlan) await this.tag(side, this.options.vlan);
      if (!this.memory) await this.raise(side, side.interface);
      await this.ip(side, ['addr', 'add', `${side.ipv4}/16`, 'dev', side.interface]);
      await this.ip(side, ['-6', 'addr', 'add', `${side.ipv6}/64`, 'dev', side.interface, 'nodad']);
      await this.setCongestionControl(side, this.options.congestion ?? 'cubic');
    }
    await this.makeRoom();
    if (this.options.netem) await this.joinByKernel();
    else if (bridged) await this.startBridge(this.options.bridge);
    // Over memif there is nobody yet at the mill's end.
    if (!this.memory) await this.waitForLink();
  }

  /** A client that opens many connections a second must not run out of ports: those in TIME_WAIT may serve again early. */
  async makeRoom() {
    const roomy = [
      'net.ipv4.ip_local_port_range=1024 65535',
      'net.ipv4.tcp_tw_reuse=1',
      'net.ipv4.tcp_tw_reuse_delay=100',
    ];
    await must('ip', ['netns', 'exec', this.peer.namespace, 'sysctl', '-eqw', ...roomy]);
  }

  async takeDevices(devices) {
    for (const [index, side] of [this.mill, this.peer].entries())
      await must('ip', ['link', 'set', devices[index], 'netns', side.namespace, 'name', side.interface]);
  }

  /** The interface becomes a trunk, and its name that of one VLAN of it. */
  async tag(side, vlan) {
    await this.ip(side, ['link', 'set', side.interface, 'name', 'trunk0']);
    await this.raise(side, 'trunk0');
    const type = ['type', 'vlan', 'id', String(vlan)];
    await this.ip(side, ['link', 'add', 'link', 'trunk0', 'name', side.interface, ...type]);
  }

  async raise(side, name) {
    const sysctl = `net.ipv6.conf.${name}`;
    await must('ip', [
      'netns',
      'exec',
      side.namespace,
      'sysctl',
      '-qw',
      `${sysctl}.accept_dad=0`,
      `${sysctl}.dad_transmits=0`,
      `${sysctl}.router_solicitations=0`,
    ]);
    if (!this.options.offload) {
      const off = ['tx', 'off', 'rx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off'];
      await must('ip', ['netns', 'exec', side.namespace, 'ethtool', '-K', name, ...off]);
    }
    if (this.options.mtu) await this.ip(side, ['link', 'set', name, 'mtu', String(this.options.mtu)]);
    await this.ip(side, ['link', 'set', name, 'up']);
  }

  /**
   * A machine's default may be BBR, which takes no notice of loss; what is compared are stacks, so the kernel gets the
   * algorithm that millrace has by default. By route: a namespace may not be allowed to change its own default.
   */
  async setCongestionControl(side, congestion) {
    const ours = ['dev', side.interface, 'proto', 'kernel'];
    await this.ip(side, [
      'route',
      'replace',
      '10.77.0.0/16',
      ...ours,
      'scope',
      'link',
      'src',
      side.ipv4,
      'congctl',
      congestion,
    ]);
    await this.ip(side, ['-6', 'route', 'replace', 'fd77::/64', ...ours, 'metric', '256', 'congctl', congestion]);
  }

  /** `ip` inside a side's namespace. */
  ip(side, args) {
    return must('ip', ['-n', side.namespace, ...args]);
  }

  /** IPv6 addresses are usable only once the link is; ping until both families answer. */
  async waitForLink() {
    const deadline = performance.now() + 10000 * kPatience;
    for (const [command, address] of [
      ['-4', this.mill.ipv4],
      ['-6', this.mill.ipv6],
    ]) {
      for (;;) {
        const outcome = await this.run(this.peer, 'ping', [command, '-c', '1', '-W', '1', '-i', '0.2', address], {
          timeoutMs: 5000,
        });
        if (outcome.code === 0) break;
        if (performance.now() > deadline)
          throw new Error(`the lab's link does not come up: ${outcome.stdout}${outcome.stderr}`);
        await sleep(50);
      }
    }
  }

  async startBridge(switches) {
    const args = ['wire0', 'wire1'];
    for (const [name, value] of Object.entries(switches)) args.push(`--${name}`, String(value));
    this.bridge = this.spawn(this.wire, nativeTool('bridge'), args, { name: 'bridge', stdin: 'pipe' });
    await this.bridge.waitFor(/^ready/m, 5000);
  }

  /** The kernel's bridge in place of ours: losses on its way out are nobody's local congestion, as on a real wire. */
  async joinByKernel() {
    await this.ip(this.wire, ['link', 'add', 'name', 'switch0', 'type', 'bridge', 'mcast_snooping', '0']);
    for (const name of ['wire0', 'wire1']) await this.ip(this.wire, ['link', 'set', name, 'master', 'switch0']);
    await this.ip(this.wire, ['link', 'set', 'switch0', 'up']);
  }

  /**
   * What the path does from now on, each way, by netem: `delay` (ms, one way), `loss` and `reorder` (per cent), `rate`
   * (Mbit/s), `queue` (kB that wait for the line).
   */
  async setPath({ delay, loss = 0, reorder = 0, rate, queue }) {
    // netem's limit counts packets that are under way too.
    const underWay = Math.ceil((rate * 1000 * delay) / (8 * kFrameBytes));
    const limit = underWay + Math.max(1, Math.round((queue * 1000) / kFrameBytes));
    const words = ['delay', `${delay}ms`, 'rate', `${rate}mbit`, 'limit', String(limit)];
    if (loss > 0) words.push('loss', 'random', `${loss}%`);
    if (reorder > 0) words.push('reorder', `${reorder}%`);
    for (const name of ['wire0', 'wire1']) {
      const root = ['qdisc', 'replace', 'dev', name, 'root', 'handle', '1:', 'netem'];
      await must('tc', ['-n', this.wire.namespace, ...root, ...words]);
    }
  }

  /** The bridge's counters so far. */
  bridgeCounters() {
    return this.bridge.ask('counters');
  }

  /** A path in the lab's own folder, which goes with the lab. */
  file(name) {
    return path.join(this.folder, `${++this.files}-${name}`);
  }

  /** Starts a program in a side's namespace. `ip netns exec` becomes the program, so its pid is the job's pid. */
  spawn(side, command, args, options = {}) {
    const env = cleanEnvironment(options.env);
    const job = new Job('ip', ['netns', 'exec', side.namespace, command, ...args], {
      ...options,
      env,
      name: options.name ?? command,
    });
    this.jobs.add(job);
    void job.exit.then(() => this.jobs.delete(job));
    return job;
  }

  /** Runs a program in a side's namespace to its end, in `timeoutMs` at most. */
  run(side, command, args, options = {}) {
    return run('ip', ['netns', 'exec', side.namespace, command, ...args], {
      ...options,
      env: cleanEnvironment(options.env),
    });
  }

  /** The same; a code other than 0 is an error. Gives stdout. */
  must(side, command, args, options = {}) {
    return must('ip', ['netns', 'exec', side.namespace, command, ...args], {
      ...options,
      env: cleanEnvironment(options.env),
    });
  }

  /**
   * Starts a Node program on the mill's side. `mode` is 'kernel' (plain Node) or 'millrace' (the preload, on the side's
   * interface). Options beside spawn's: `ready` (pattern to wait for), `nodeArgs`, `options` (more MILLRACE_*), `idle` (it
   * has no socket yet, so that over memif nobody has the wire).
   */
  async node(mode, script, args = [], options = {}) {
    const side = options.side ?? this.mill;
    const memory = side === this.mill && !options.stays ? this.memory : null;
    await (mode === 'millrace' ? memory?.take() : memory?.pass(false));
    const nodeArgs = [...(options.nodeArgs ?? [])];
    const env = { ...options.env };
    const report = this.file('report.json');
    const live = this.file('stats.json');
    if (mode === 'millrace') {
      nodeArgs.push('--require', register, '--require', path.join(__dirname, 'stats-probe.js'));
      Object.assign(env, {
        ...portOptions(side, this),
        MILLRACE_REQUIRE: '1',
        MILLRACE_REPORT: report,
        LAB_STATS_FILE: live,
        ...options.options,
      });
    }
    const name = `${path.basename(script)} (${mode})`;
    const job = this.spawn(side, process.execPath, [...nodeArgs, script, ...args.map(String)], {
      ...options,
      env,
      name,
    });
    Object.assign(job, { mode, report, live });
    if (memory && mode === 'millrace') void job.exit.then(() => memory.leave());
    if (options.ready !== null) {
      await job.waitFor(options.ready ?? /listening on/, options.readyTimeoutMs ?? 15000);
      if (this.memory && side === this.mill && job.running && !options.idle) await this.waitForLink();
    }
    return job;
  }

  /** The environment by which a program runs under millrace that node() does not start; `threads`: its threads do. */
  underMillrace({ threads = true } = {}) {
    return { NODE_OPTIONS: `--require ${register}`, ...portOptions(this.mill, this, threads) };
  }

  /** The counters of a running millrace job, from inside it. */
  async liveStats(job, timeoutMs = 5000) {
    fs.rmSync(job.live, { force: true });
    job.kill('SIGUSR2');
    const deadline = performance.now() + timeoutMs * kPatience;
    while (!fs.existsSync(job.live)) {
      if (performance.now() > deadline) throw new Error(`no counters in ${timeoutMs} ms: ${job.describe()}`);
      await sleep(10);
    }
    return JSON.parse(fs.readFileSync(job.live, 'utf8'));
  }

  /** Ends a Node job and gives the counters it reported at exit (null under plain Node). */
  async finalStats(job) {
    await job.stop('SIGTERM', 5000);
    return fs.existsSync(job.report) ? JSON.parse(fs.readFileSync(job.report, 'utf8')) : null;
  }

  /** TCP connections that the kernel of a side knows (listeners and, unless wanted, TIME_WAIT left out). */
  async kernelConnections(side, filter = []) {
    const text = await this.must(side, 'ss', ['-Htn', 'state', 'connected', 'exclude', 'time-wait', ...filter]);
    return text.split('\n').filter(Boolean);
  }

  async close() {
    if (this.closed) return;
    if (this.memory) this.memory.closing = true;
    await Promise.all([...this.jobs].map((job) => job.stop('SIGTERM', 1500)));
    this.closeNow();
  }

  /** Takes everything down at once, synchronously: also usable while the process ends. */
  closeNow() {
    if (this.closed) return;
    this.closed = true;
    openLabs.delete(this);
    for (const job of this.jobs) job.kill('SIGKILL');
    for (const side of [this.mill, this.peer, this.wire]) {
      if (fs.existsSync(`/run/netns/${side.namespace}`)) destroyNamespace(side.namespace);
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

module.exports = { openLab, Lab, root, register, port };
