// Asks a UDP echo from SOCKETS sockets, each ROUNDS times, again after 200 ms without an answer; prints {pid: answers} and
// how many questions had to be asked again.
//   cluster-udp-client.js HOST PORT SOCKETS ROUNDS
'use strict';

const dgram = require('node:dgram');

const [host, port, sockets, rounds] = process.argv.slice(2);
const answers = {};
let again = 0;
let open = Number(sockets);

for (let i = 0; i < Number(sockets); i++) {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
  let round = 0;
  let timer;
  const ask = () => {
    socket.send(`${i}.${round}`, Number(port), host);
    timer = setTimeout(() => {
      again++;
      ask();
    }, 200);
  };
  socket.on('message', (message) => {
    const [pid, text] = message.toString().split(' ');
    if (text !== `${i}.${round}`) return;
    clearTimeout(timer);
    answers[pid] = (answers[pid] ?? 0) + 1;
    if (++round < Number(rounds)) return ask();
    socket.close();
    if (--open === 0) process.stdout.write(`${JSON.stringify({ answers, again })}\n`);
  });
  ask();
}
