// SPDX-License-Identifier: MIT
// Where bench/paths.mjs measures: a lab with a path of given conditions, a server of each stack, transfers both ways.
// By a user-space bridge on any kernel, or by netem where there is one (the guest).

import path from 'node:path';
import jobs from '../tools/lab/jobs.js';
import lab from '../tools/lab/lab.js';
import tools from '../tools/lab/native-tools.js';

const kBulk = path.join(lab.root, 'bench/apps/bulk.js');
const kPorts = { kernel: { source: 7001, sink: 7003 }, millrace: { source: 7000, sink: 7002 } };
export const kModes = ['kernel', 'millrace'];
/** Which of the server's ports, and what the client does. The client is the kernel's in both cases. */
export const kWays = { down: ['source', 'tcp-receive'], up: ['sink', 'tcp-send'] };

/** One bandwidth-delay product, as routers are often given, and never less than some 20 packets. */
function queueKb(rttMs, rateMbit) {
  return Math.max(32, Math.round((rttMs * rateMbit) / 8));
}

function conditions({ rtt, loss, rate, reorder = 0 }) {
  return { delay: rtt / 2, loss, rate, reorder, queue: queueKb(rtt, rate) };
}

export class Place {
  #netem;
  #lab;
  #where;
  #servers = {};

  constructor({ netem }) {
    this.#netem = netem;
  }

  /** From now on packets pass a path like `where`: { rtt, loss, rate, reorder }. */
  async go(where) {
    this.#where = where;
    if (this.#netem) {
      if (this.#lab === undefined) await this.#open({ netem: true });
      await this.#lab.setPath(conditions(where));
      return;
    }
    await this.close();
    await this.#open({ bridge: { seed: 11, ...conditions(where) } });
  }

  async #open(options) {
    this.#lab = await lab.openLab(options);
    // Linux remembers what connections learnt for those that come after: each transfer is to stand for itself.
    const forget = ['sysctl', '-qw', 'net.ipv4.tcp_no_metrics_save=1'];
    for (const side of [this.#lab.mill, this.#lab.peer]) await this.#lab.must(side, forget[0], forget.slice(1));
  }

  /** One transfer of `seconds`: Mbit/s. */
  async transfer(mode, way, seconds, warmup = 0.5) {
    const home = this.#lab;
    if (!this.#servers[mode]?.running) {
      const words = Object.entries(kPorts[mode]).flatMap(([role, port]) => [role, String(port)]);
      this.#servers[mode] = await home.node(mode, kBulk, words, {
        ready: /listening.*\n.*listening/,
        readyTimeoutMs: 60000,
      });
      // Reads and compiles what the first transfer would have to wait for.
      for (const other of Object.keys(kWays)) await this.transfer(mode, other, 1);
    }
    const [role, workload] = kWays[way];
    const to = ['--host', home.mill.ipv4, '--port', String(kPorts[mode][role])];
    const times = ['--seconds', String(seconds), '--warmup', String(warmup), '--timeout', '300'];
    const limit = { timeoutMs: seconds * 1000 + 600000 };
    const outcome = await home.run(home.peer, tools.nativeTool('load'), [workload, ...to, ...times], limit);
    if (outcome.code !== 0) throw new Error(`${mode} ${workload}: ${outcome.stdout}${outcome.stderr}`);
    // What is under way still is not to meet the next transfer.
    await jobs.sleep(200 + 3 * this.#where.rtt);
    const { bytes, seconds: taken } = JSON.parse(outcome.stdout);
    return (bytes * 8) / taken / 1e6;
  }

  async close() {
    await this.#lab?.close();
    this.#lab = undefined;
    this.#servers = {};
  }
}
