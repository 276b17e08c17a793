// SPDX-License-Identifier: MIT
// A client that opens connections until there is no port left, and again when there are some; knows nothing of millrace.
//   node ports.js <host> <port> <at most>
//   One line of JSON: how many were opened, the error and its fields, and how many could be opened afterwards.
'use strict';

const net = require('node:net');

const [host, port, most] = process.argv.slice(2);

function connect() {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port: Number(port) });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** As many as there are ports for, one after the other. */
async function openAll(limit) {
  const sockets = [];
  let error = null;
  while (sockets.length < limit && error === null) {
    await connect().then(
      (socket) => sockets.push(socket),
      (reason) => {
        error = reason;
      },
    );
  }
  return { sockets, error };
}

async function main() {
  const first = await openAll(Number(most));
  const fields = { ...first.error };
  const opened = first.sockets.length;
  // The server ends them, so that no port waits in TIME-WAIT here.
  for (const socket of first.sockets) socket.resume().write('close');
  await Promise.all(first.sockets.map((socket) => new Promise((resolve) => socket.on('close', resolve))));
  // The last acknowledgements are on their way.
  await new Promise((resolve) => setTimeout(resolve, 200));
  const again = await openAll(10);
  console.log(JSON.stringify({ opened, message: first.error?.message, fields, again: again.sockets.length }));
  for (const socket of again.sockets) socket.destroy();
}

main();
