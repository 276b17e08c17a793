// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const pg = require('pg');
const { blob, codeOf, failure, sha256, until } = require('./support.js');

const kRows = 20000;
const kLogin = { user: 'mill', password: 'stone', database: 'postgres' };

async function tables(client, record) {
  await client.query('DROP TABLE IF EXISTS grain');
  await client.query('CREATE TABLE grain (id int PRIMARY KEY, name text, bytes bytea, whole jsonb)');
  for (let i = 0; i < 200; ++i) {
    const values = [i, `grain ${i}`, blob(i * 10, i), { i }];
    await client.query({ name: 'add', text: 'INSERT INTO grain VALUES ($1, $2, $3, $4)', values });
  }
  const all = await client.query('SELECT * FROM grain ORDER BY id');
  assert.ok(all.rows.every((row, i) => row.bytes.equals(blob(i * 10, i)) && row.whole.i === i));
  record('prepared inserts', all.rowCount);
  const big = blob(8 << 20);
  const { rows } = await client.query('INSERT INTO grain VALUES (1000, $1, $2) RETURNING bytes', ['big', big]);
  assert.ok(rows[0].bytes.equals(big));
  record('8 MiB', sha256(rows[0].bytes));
  const many = await client.query(`SELECT i, repeat('x', i % 100) AS text FROM generate_series(1, ${kRows}) AS i`);
  assert.ok(many.rows.every((row, i) => row.i === i + 1 && row.text.length === (i + 1) % 100));
  record('rows', many.rowCount);
  record(
    'types',
    (await client.query("SELECT 1.5::float8 AS f, now() > '2020-01-01' AS b, null AS n, '{1,2}'::int[] AS a")).rows[0],
  );
}

async function failures(client, record) {
  record('key', await failure(client.query("INSERT INTO grain VALUES (1, 'again')")));
  record('syntax', await failure(client.query('SELEC 1')));
  await client.query('BEGIN');
  await client.query('DELETE FROM grain');
  await client.query('ROLLBACK');
  record('rolled back', (await client.query('SELECT count(*)::int AS n FROM grain')).rows[0].n);
  const queued = await Promise.all(Array.from({ length: 500 }, (_, i) => client.query('SELECT $1::int AS n', [i])));
  assert.ok(queued.every(({ rows }, i) => rows[0].n === i));
  record('queued', queued.length);
  await client.query("SET statement_timeout = '50ms'");
  record('too slow', await failure(client.query('SELECT pg_sleep(5)')));
  await client.query('SET statement_timeout = 0');
}

async function notifications(host, port, record) {
  const listener = new pg.Client({ host, port, ...kLogin });
  await listener.connect();
  const heard = [];
  listener.on('notification', ({ payload }) => heard.push(payload));
  await listener.query('LISTEN news');
  const pool = new pg.Pool({ host, port, ...kLogin, max: 8 });
  const sums = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      await pool.query('SELECT pg_notify($1, $2)', ['news', String(i)]);
      return (await pool.query('SELECT $1::int + 1 AS n', [i])).rows[0].n;
    }),
  );
  assert.ok(sums.every((n, i) => n === i + 1));
  await until(() => heard.length === 200);
  record(
    'notified',
    heard.map(Number).reduce((sum, n) => sum + n),
  );
  record('pool', pool.totalCount);
  await Promise.all([pool.end(), listener.end()]);
}

async function client({ host, port, record, ca, ask }) {
  for (const ssl of [undefined, { ca }]) {
    const one = new pg.Client({ host, port, ...kLogin, ssl });
    await one.connect();
    await tables(one, record);
    await failures(one, record);
    const secure = await one.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    record('over TLS', secure.rows[0].ssl);
    await one.end();
  }
  await notifications(host, port, record);
  record('wrong password', await failure(new pg.Client({ host, port, ...kLogin, password: 'x' }).connect()));
  record('nobody listens', await failure(new pg.Client({ host, port: port + 7, ...kLogin }).connect()));
  const orphan = new pg.Client({ host, port, ...kLogin });
  await orphan.connect();
  const ended = new Promise((resolve) => orphan.once('end', resolve));
  const busy = failure(orphan.query('SELECT pg_sleep(60)'));
  orphan.on('error', (error) => record('error', codeOf(error)));
  await ask('stop');
  record('the server ends', await busy);
  await ended;
  await ask('start');
  const last = new pg.Client({ host, port, ...kLogin });
  await last.connect();
  record('and is back', (await last.query('SELECT count(*)::int AS n FROM grain')).rows[0].n);
  await last.end();
}

module.exports = { client };
