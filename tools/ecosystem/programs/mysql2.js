// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const mysql = require('mysql2');
const { blob, failure, once, sha256, sleep } = require('./support.js');

const kRows = 20000;
const kLogin = { user: 'mill', password: 'stone', database: 'mill' };

async function tables(connection, record) {
  await connection.query('DROP TABLE IF EXISTS grain');
  await connection.query('CREATE TABLE grain (id INT PRIMARY KEY, name TEXT, bytes LONGBLOB)');
  for (let i = 0; i < 200; ++i) {
    await connection.execute('INSERT INTO grain VALUES (?, ?, ?)', [i, `grain ${i}`, blob(i * 10, i)]);
  }
  const [all] = await connection.execute('SELECT * FROM grain WHERE id < ? ORDER BY id', [200]);
  assert.ok(all.every((row, i) => row.bytes.equals(blob(i * 10, i)) && row.name === `grain ${i}`));
  record('prepared inserts', all.length);
  const big = blob(8 << 20);
  await connection.query('INSERT INTO grain VALUES (1000, ?, ?)', ['big', big]);
  const [[row]] = await connection.execute('SELECT bytes FROM grain WHERE id = 1000');
  assert.ok(row.bytes.equals(big));
  record('8 MiB', sha256(row.bytes));
  const [many] = await connection.query(`SELECT seq, REPEAT('x', seq % 100) AS text FROM seq_1_to_${kRows}`);
  assert.ok(many.every((one, i) => one.seq === i + 1 && one.text.length === (i + 1) % 100));
  record('rows', many.length);
  const [sets] = await connection.query('SELECT 1 AS one; SELECT 2 AS two');
  record('several statements', sets);
}

async function failures(connection, record) {
  record('key', await failure(connection.query("INSERT INTO grain VALUES (1, 'again', NULL)")));
  record('syntax', await failure(connection.query('SELEC 1')));
  await connection.beginTransaction();
  await connection.query('DELETE FROM grain');
  await connection.rollback();
  record('rolled back', (await connection.query('SELECT COUNT(*) AS n FROM grain'))[0]);
  const queued = await Promise.all(Array.from({ length: 500 }, (_, i) => connection.execute('SELECT ? AS n', [i])));
  assert.ok(queued.every(([rows], i) => Number(rows[0].n) === i));
  record('queued', queued.length);
}

/** Rows as a stream that is read slowly: the server has to wait. */
async function stream(options, record) {
  const connection = mysql.createConnection(options);
  const rows = connection
    .query(`SELECT seq, REPEAT('y', 500) AS text FROM seq_1_to_${kRows}`)
    .stream({ highWaterMark: 5 });
  let sum = 0;
  for await (const row of rows) {
    sum += row.seq;
    if (row.seq % 1000 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  record('slow stream', sum);
  await connection.promise().end();
}

async function client({ host, port, record, ca, ask }) {
  const to = { host, port, ...kLogin, multipleStatements: true };
  for (const ssl of [undefined, { ca }]) {
    const connection = mysql.createConnection({ ...to, ssl }).promise();
    await tables(connection, record);
    await failures(connection, record);
    const [[cipher]] = await connection.query("SHOW STATUS LIKE 'Ssl_version'");
    record('TLS', cipher.Value);
    await connection.end();
    await stream({ ...to, ssl }, record);
  }
  const pool = mysql.createPool({ ...to, connectionLimit: 8 }).promise();
  const sums = await Promise.all(Array.from({ length: 200 }, (_, i) => pool.query('SELECT ? + 1 AS n', [i])));
  assert.ok(sums.every(([rows], i) => rows[0].n === i + 1));
  record('pool', sums.length);
  await pool.end();
  const connect = (more) =>
    failure(
      mysql
        .createConnection({ ...to, ...more })
        .promise()
        .connect(),
    );
  record('wrong password', await connect({ password: 'x' }));
  record('nobody listens', await connect({ port: port + 7 }));
  const orphan = mysql.createConnection(to);
  await once(orphan, 'connect');
  orphan.on('error', () => {});
  const busy = failure(orphan.promise().query('SELECT SLEEP(60)'));
  await sleep(300); // until the server has read it: what it has not read is answered by a reset
  await ask('kill');
  record('the server dies', await busy);
  await ask('start');
  const last = mysql.createConnection(to).promise();
  record('and is back', (await last.query('SELECT COUNT(*) AS n FROM grain'))[0]);
  await last.end();
}

module.exports = { client };
