// SPDX-License-Identifier: MIT
// A wire from a guest to this machine: a network namespace with a tap of several queues, whose other end a device of
// QEMU's can be, and an echo server in it. For devices that QEMU does not join among themselves: those of several
// queues.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../files.mjs';
import namespaces from '../lab/namespaces.js';
import { run } from '../run.mjs';

const TAP = 'tap0';
const PORT = '7000';

async function must(...command) {
  const [program, ...args] = command;
  const { code, output } = await run(program, args, { timeoutSeconds: 30 });
  if (code !== 0) throw new Error(`${command.join(' ')}: code ${code}\n${output}`);
}

/** What QEMU is told, to have a network card of so many queues at the wire. */
export const queuesOf = (count, device) => [
  ...['-netdev', `tap,id=wire,ifname=${TAP},queues=${count},script=no,downscript=no,vhost=off`],
  ...['-device', `${device},netdev=wire,mq=on,vectors=${2 * count + 2}`],
];

/** The namespace's name, and how to take it down. What is left of a killed run goes when the next lab opens. */
export async function openWire() {
  namespaces.sweep();
  const namespace = `${namespaces.kPrefix}${process.pid}-wire`;
  const close = () => namespaces.destroyNamespace(namespace);
  process.once('exit', close);
  try {
    await must('ip', 'netns', 'add', namespace);
    const ip = (...args) => must('ip', '-n', namespace, ...args);
    await ip('link', 'set', 'lo', 'up');
    await ip('tuntap', 'add', 'dev', TAP, 'mode', 'tap', 'multi_queue');
    const quiet = ['accept_dad=0', 'router_solicitations=0'].map((one) => `net.ipv6.conf.${TAP}.${one}`);
    await must('ip', 'netns', 'exec', namespace, 'sysctl', '-qw', ...quiet);
    await ip('addr', 'add', '10.77.0.2/16', 'dev', TAP);
    await ip('-6', 'addr', 'add', 'fd77::2/64', 'dev', TAP, 'nodad');
    await ip('link', 'set', TAP, 'up');
    const args = ['netns', 'exec', namespace, process.execPath, join(ROOT, 'test/e2e/apps/echo-peer.js'), PORT];
    spawn('ip', args, { stdio: ['pipe', 'ignore', 'inherit'] });
  } catch (error) {
    close();
    throw error;
  }
  return {
    namespace,
    close: () => {
      process.off('exit', close);
      close();
    },
  };
}
