// SPDX-License-Identifier: MIT
// Preloaded behind millrace's own preload by tests and the demo: SIGUSR2 makes the program write its counters to
// LAB_STATS_FILE, so that they can be seen while it runs and without a word in the program.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const file = process.env.LAB_STATS_FILE;
if (file) {
  process.on('SIGUSR2', () => {
    const { stats } = require(path.resolve(__dirname, '../../dist/lib/index.js'));
    fs.writeFileSync(`${file}.new`, JSON.stringify(stats()));
    fs.renameSync(`${file}.new`, file);
  });
}
