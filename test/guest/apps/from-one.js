// SPDX-License-Identifier: MIT
// Connections to an echo server, from the main thread; nothing in it knows of millrace. Prints one line of JSON.
//   node from-one.js HOST4 HOST6 PORT CONNECTIONS
'use strict';

const { talks } = require('./talks.js');

const [host4, host6, port, connections] = process.argv.slice(2);
talks([host4, host6], Number(port), Number(connections), 'main').then((seen) => console.log(JSON.stringify(seen)));
