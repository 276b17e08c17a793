// SPDX-License-Identifier: MIT
// https and http2 under millrace, with a real check of the certificate on both sides.

import t from 'tap';
import { app, cannotRun, lab, makeCertificates, mode, stopAndReport, patternHash } from './support/context';

t.setTimeout(180_000);
const skip = cannotRun('curl', 'h2load', 'openssl', 'bash', 'sha256sum');
const kBytes = 10e6;

t.test(`an https server and curl (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const { ca, key, cert } = makeCertificates(home);
  const server = await home.node(mode, app('files'), [8443, '::', key, cert]);
  for (const host of [home.mill.ipv4, `[${home.mill.ipv6}]`]) {
    const url = `https://${host}:8443/file?bytes=${kBytes}&seed=tls`;
    const fetched = await home.run(home.peer, 'bash', [
      '-o',
      'pipefail',
      '-c',
      `curl -sS --cacert ${ca} '${url}' | sha256sum`,
    ]);
    t.equal(fetched.stdout.split(' ')[0], patternHash(kBytes, 'tls'), `${host}: the file is whole ${fetched.stderr}`);
    const distrusted = await home.run(home.peer, 'curl', ['-sS', '--capath', '/nonexistent', url, '-o', '/dev/null']);
    t.not(distrusted.code, 0, `${host}: without the authority curl refuses`);
  }
  await stopAndReport(t, home, server);
});

t.test(`an https client (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const { ca, key, cert } = makeCertificates(home);
  await home.node('kernel', app('files'), [8443, '::', key, cert], { side: home.peer });
  for (const host of [home.peer.ipv4, `[${home.peer.ipv6}]`]) {
    const url = `https://${host}:8443/file?bytes=${kBytes}&seed=client`;
    const client = await home.node(mode, app('http-client'), [url, 6, 2, ca], { ready: null });
    await client.finish(30000);
    t.equal(client.code, 0, client.code === 0 ? `${host}: it ends by itself` : client.describe());
    const expected = { status: 200, bytes: kBytes, sha256: patternHash(kBytes, 'client'), authorized: true };
    t.match(
      JSON.parse(client.stdout || '{}'),
      { count: 6, distinct: [expected] },
      `${host}: files are whole, the peer is authorized`,
    );
    const distrusting = await home.node(mode, app('http-client'), [url, 1, 1], { ready: null });
    await distrusting.finish(30000);
    t.match(
      distrusting.stdout,
      /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT/,
      `${host}: without the authority the client refuses`,
    );
  }
});

for (const secure of [false, true]) {
  t.test(`h2load against an ${secure ? 'h2' : 'h2c'} server (${mode})`, { skip }, async (t) => {
    const home = await lab(t);
    const { key, cert } = makeCertificates(home);
    const server = await home.node(mode, app('h2'), secure ? [8443, '::', key, cert] : [8443, '::']);
    for (const host of [home.mill.ipv4, `[${home.mill.ipv6}]`]) {
      const url = `${secure ? 'https' : 'http'}://${host}:8443`;
      const client = await home.run(
        home.peer,
        'h2load',
        ['-n', '20000', '-c', '16', '-m', '16', `${url}/`, `${url}/20000`],
        { timeoutMs: 60000 },
      );
      t.match(
        client.stdout,
        /20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout/,
        `${host}: every request succeeded ${client.stderr}`,
      );
      t.match(client.stdout, /status codes: 20000 2xx/);
      t.comment(`${host}: ${/finished in.*/.exec(client.stdout)?.[0] ?? ''}`);
    }
    await stopAndReport(t, home, server);
  });
}
