// SPDX-License-Identifier: MIT
// What the programs share: bytes that cannot be mistaken for one another, and how errors are written down.

const { createCipheriv, createHash } = require('node:crypto');
const { Readable } = require('node:stream');
const { once } = require('node:events');

const kChunkBytes = 65536;

/** `bytes` bytes of the key stream of `seed`. */
function blob(bytes, seed = 1) {
  const key = createHash('sha256').update(`ecosystem ${seed}`).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

/** The same as a stream, in pieces of 64 KiB. */
function blobStream(bytes, seed = 1) {
  const all = blob(bytes, seed);
  const pieces = [];
  for (let at = 0; at < bytes; at += kChunkBytes) pieces.push(all.subarray(at, at + kChunkBytes));
  return Readable.from(pieces, { objectMode: false });
}

const sha256 = (data) => createHash('sha256').update(data).digest('hex').slice(0, 16);

/** Length and hash of everything that a stream gives. */
async function digest(stream) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex').slice(0, 16) };
}

/** What `blob` of the same arguments has for a digest. */
const digestOf = (bytes, seed = 1) => ({ bytes, sha256: sha256(blob(bytes, seed)) });

/** How a promise fails: its code, or its name and message when it has none; 'no error' when it does not. */
async function failure(promise) {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return codeOf(error);
  }
}

/** The code of the first error with one in the chain of causes. */
function codeOf(error) {
  for (let at = error; at; at = at.cause ?? at.errors?.[0]) if (typeof at.code === 'string') return at.code;
  return `${error?.name}: ${error?.message}`;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `look` gives something that is true; for at most ten seconds. */
async function until(look) {
  for (let left = 1000; left > 0; --left) {
    const value = await look();
    if (value) return value;
    await sleep(10);
  }
  throw new Error(`it never came: ${look}`);
}

module.exports = { blob, blobStream, codeOf, digest, digestOf, failure, once, sha256, sleep, until };
