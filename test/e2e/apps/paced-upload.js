// SPDX-License-Identifier: MIT
// Sends a PUT of small pieces at a steady pace and prints the server's answer and its own port. A kernel-side client.
//   node paced-upload.js <host> <port> <pieces> <bytes> <pause ms>
'use strict';

const net = require('node:net');
const { patternHash, pattern } = require('./pattern.js');

const [host, port, pieces, bytes, pause] = process.argv
  .slice(2)
  .map((text, index) => (index === 0 ? text : Number(text)));
const total = pieces * bytes;
const body = [];
pattern(total, 'paced')
  .on('data', (chunk) => body.push(chunk))
  .on('end', () => {
    const all = Buffer.concat(body);
    const socket = net.connect({ host, port, noDelay: true });
    let answer = '';
    socket.setEncoding('utf8').on('data', (text) => (answer += text));
    socket.on('error', (error) => console.log(JSON.stringify({ error: error.code })));
    socket.on('connect', () => {
      console.log(`port ${socket.localPort}`);
      socket.write(`PUT /paced HTTP/1.1\r\nHost: server\r\nConnection: close\r\nContent-Length: ${total}\r\n\r\n`);
      let sent = 0;
      const timer = setInterval(() => {
        socket.write(all.subarray(sent, sent + bytes));
        sent += bytes;
        if (sent >= total) clearInterval(timer);
      }, pause);
    });
    socket.on('end', () => {
      const { bytes: got, sha256 } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')).match(/\{.*\}/)[0]);
      console.log(JSON.stringify({ equal: got === total && sha256 === patternHash(total, 'paced') }));
    });
  });
