// SPDX-License-Identifier: MIT
// Taking network namespaces down, synchronously, so that it also works while a process ends.
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** Every namespace of a lab is named with this and the process id of its owner. */
const kPrefix = 'mr-lab-';
/** So is its folder of temporary files. */
const kFolderPrefix = 'millrace-lab-';

const quietly = (command, args) => {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'], timeout: 10000, encoding: 'utf8' });
  } catch {
    return '';
  }
};

/** Ends everything inside a namespace, then the namespace; its veth ends go with it. */
function destroyNamespace(name) {
  for (const pid of quietly('ip', ['netns', 'pids', name]).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
  quietly('ip', ['netns', 'del', name]);
}

/** Takes down what labs of killed processes left behind. */
function sweep() {
  for (const line of quietly('ip', ['netns', 'list']).split('\n')) {
    const match = new RegExp(`^${kPrefix}(\\d+)-`).exec(line);
    if (match && !fs.existsSync(`/proc/${match[1]}`)) destroyNamespace(line.split(' ')[0]);
  }
  for (const name of fs.readdirSync(os.tmpdir())) {
    const match = new RegExp(`^${kFolderPrefix}(\\d+)-`).exec(name);
    if (match && !fs.existsSync(`/proc/${match[1]}`))
      fs.rmSync(path.join(os.tmpdir(), name), { recursive: true, force: true });
  }
}

module.exports = { kFolderPrefix, kPrefix, destroyNamespace, sweep };
