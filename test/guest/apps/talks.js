// SPDX-License-Identifier: MIT
// Plain TCP connections to an echo server, one after the other, with a few questions on each; every answer is checked.
'use strict';

const net = require('node:net');

const kMessages = 5;

function talk(host, port, serial) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, noDelay: true });
    let asked = 0;
    let got = '';
    const ask = () => socket.write(`${serial}.${++asked}\n`);
    socket.setEncoding('utf8');
    socket.on('connect', ask);
    socket.on('error', reject);
    socket.on('data', (text) => {
      got += text;
      if (!got.endsWith('\n')) return;
      if (got !== `${serial}.${asked}\n`) return reject(new Error(`${got} is no answer to ${serial}.${asked}`));
      got = '';
      if (asked < kMessages) ask();
      else socket.end();
    });
    socket.on('close', () => resolve(asked));
  });
}

/** So many connections to each of the hosts: how many answers came, and what went wrong. */
async function talks(hosts, port, connections, name) {
  const seen = { answers: 0, errors: [] };
  for (let i = 0; i < connections; i++) {
    for (const host of hosts) {
      await talk(host, port, `${name}.${i}`).then(
        (answers) => (seen.answers += answers),
        (error) => seen.errors.push(error.message),
      );
    }
  }
  return seen;
}

module.exports = { talks };
