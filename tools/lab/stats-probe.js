// SPDX-License-Identifier: MIT
// Preloaded behind millrace's own preload by tests and the demo: writes the program's counters to LAB_STATS_FILE at
// SIGUSR2, and every LAB_STATS_EVERY_MS where that is set, so that they can be seen while it runs and without a word in
// the program.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

// %p is the process id: a cluster's workers inherit the name.
const file = process.env.LAB_STATS_FILE?.replaceAll('%p', String(process.pid));

function write() {
  const { stats } = require(path.resolve(__dirname, '../../dist/lib/index.js'));
  fs.writeFileSync(`${file}.new`, JSON.stringify(stats()));
  fs.renameSync(`${file}.new`, file);
}

if (file) {
  process.on('SIGUSR2', write);
  const every = Number(process.env.LAB_STATS_EVERY_MS);
  if (every > 0) setInterval(write, every).unref();
}
