// SPDX-License-Identifier: MIT
// LAB_PORT=memif: the wire of a lab is shared memory between two programs, with a tap at each end that is the kernel's
// interface, and stays. At the peer's end the program stays too; at the mill's it is the one under test, or, while there is
// none, another that stays, so that its kernel has the wire. With a bridge, that stands between the peer's tap and a veth
// pair.
'use strict';

const path = require('node:path');
const { must, sleep } = require('./jobs.js');
const { macs } = require('./ports.js');

/** A program of the mill that ends may have a successor, else its kernel gets the wire. */
const kNextProgramMs = 50;

class MemoryWire {
  constructor(lab) {
    this.lab = lab;
    // Programs that have the mill's end or wait for it, and who has it while there is none.
    this.programs = 0;
    this.stayed = null;
    this.passing = Promise.resolve();
    this.closing = false;
  }

  async join(bridged) {
    const { lab } = this;
    const { mill, peer, wire } = lab;
    for (const name of ['mtu', 'devices', 'vlan'])
      if (lab.options[name]) throw new Error(`LAB_PORT=memif knows nothing of ${name}`);
    const far = bridged ? wire : peer;
    for (const side of [mill, far]) {
      await lab.ip(side, ['tuntap', 'add', 'dev', side.interface, 'mode', 'tap']);
      const address = side === mill ? macs.near : macs.far;
      await lab.ip(side, ['link', 'set', side.interface, 'address', address, 'txqueuelen', '10000']);
      await lab.raise(side, side.interface);
    }
    if (bridged) {
      const pair = ['wire1', 'netns', wire.namespace, 'type', 'veth', 'peer', 'name', peer.interface];
      await must('ip', ['link', 'add', 'name', ...pair, 'netns', peer.namespace]);
      await lab.raise(wire, 'wire1');
      await lab.raise(peer, peer.interface);
    }
    await this.stay(far);
  }

  stay(side) {
    const script = path.join(__dirname, 'stay.js');
    return this.lab.node('millrace', script, [], { side, readyTimeoutMs: 30000, stays: true });
  }

  /** The mill's end to a program, or to the kernel while no program has it. One after the other. */
  pass(toProgram) {
    const pass = async () => {
      if (toProgram) {
        await this.stayed?.stop();
        this.stayed = null;
      } else if (this.programs === 0 && !this.stayed && !this.closing) {
        this.stayed = await this.stay(this.lab.mill);
      }
    };
    this.passing = this.passing.then(pass, pass);
    return this.passing;
  }

  /** Before a program under millrace starts on the mill's side. */
  async take() {
    ++this.programs;
    await this.pass(true);
  }

  /** When it has ended. */
  async leave() {
    --this.programs;
    await sleep(kNextProgramMs);
    await this.pass(false).catch((error) => {
      if (!this.closing) throw error;
    });
  }
}

module.exports = { MemoryWire };
