// SPDX-License-Identifier: MIT
// Bytes that cannot be mistaken for one another: a key stream by seed, for files that need no disk.
'use strict';

const { createCipheriv, createHash } = require('node:crypto');
const { Readable } = require('node:stream');

const kChunkBytes = 65536;

function* chunks(bytes, seed) {
  const key = createHash('sha256').update(`pattern ${seed}`).digest().subarray(0, 16);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(kChunkBytes);
  for (let left = bytes; left > 0; left -= kChunkBytes)
    yield cipher.update(zeros.subarray(0, Math.min(left, kChunkBytes)));
}

/** A stream of `bytes` bytes. */
function pattern(bytes, seed) {
  return Readable.from(chunks(bytes, seed), { objectMode: false, highWaterMark: kChunkBytes });
}

/** SHA-256 of the same bytes, in hexadecimal. */
function patternHash(bytes, seed) {
  const hash = createHash('sha256');
  for (const chunk of chunks(bytes, seed)) hash.update(chunk);
  return hash.digest('hex');
}

/** Bytes of the same pattern from anywhere. */
function patternAt(offset, length, seed) {
  const key = createHash('sha256').update(`pattern ${seed}`).digest().subarray(0, 16);
  const counter = Buffer.alloc(16);
  counter.writeBigUInt64BE(BigInt(Math.floor(offset / 16)), 8);
  const skip = offset % 16;
  return createCipheriv('aes-128-ctr', key, counter)
    .update(Buffer.alloc(skip + length))
    .subarray(skip);
}

module.exports = { pattern, patternAt, patternHash };
