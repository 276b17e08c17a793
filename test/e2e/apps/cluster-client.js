// A client of cluster-http.js: keeps COUNT connections open, each with one request after the other, and opens short ones
// beside them, until told to stop by a line on stdin. Prints one line of JSON on each line of stdin.
//   cluster-client.js HOST PORT COUNT
'use strict';

const http = require('node:http');

const [host, port, count] = process.argv.slice(2);
const answers = {}; // pid -> handle -> answers
const failures = []; // of kept connections: { code, pid }
let refused = 0; // short connections that failed
let kept = 0;
let short = 0;
let stopping = false;

function get(agent, done) {
  const request = http.get({ host, port, agent, path: `/${kept + short}`, timeout: 10_000 }, (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('error', (error) => done(error));
    response.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const answer = JSON.parse(text);
      if (answer.url !== request.path) return done(new Error(`answer to another request: ${text}`));
      answers[answer.pid] ??= {};
      answers[answer.pid][answer.handle] = (answers[answer.pid][answer.handle] ?? 0) + 1;
      done(null, answer);
    });
  });
  request.on('timeout', () => request.destroy(Object.assign(new Error('no answer'), { code: 'NO_ANSWER' })));
  request.on('error', (error) => done(error));
}

// One connection, for as long as it lives; when it ends, another.
function keep() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  let pid = 0;
  const next = () => {
    if (stopping) return agent.destroy();
    get(agent, (error, answer) => {
      if (error) {
        if (failures.length < 100) failures.push({ code: error.code ?? error.message, pid });
        agent.destroy();
        setTimeout(keep, 20);
        return;
      }
      if (pid !== 0 && pid !== answer.pid) failures.push({ code: 'MOVED', pid });
      pid = answer.pid;
      kept++;
      setTimeout(next, 2);
    });
  };
  next();
}

function once() {
  if (stopping) return;
  get(false, (error) => {
    if (error) refused++;
    else short++;
    setTimeout(once, 2);
  });
}

for (let i = 0; i < Number(count); i++) keep();
for (let i = 0; i < 4; i++) once();
process.stdout.write('running\n');
require('node:readline')
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    process.stdout.write(`${JSON.stringify({ answers, failures, refused, kept, short })}\n`);
    if (line === 'stop') {
      stopping = true;
      setTimeout(() => process.exit(0), 100);
    }
  });
