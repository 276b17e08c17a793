// SPDX-License-Identifier: MIT
// Compiles native/steer/xdp_program.bpf.c with clang and writes its instructions to
// native/steer/xdp_program_code.h, which is committed, so that installing the package needs no clang.
//
//   node tools/build-xdp.mjs           writes the header
//   node tools/build-xdp.mjs --check   fails when the committed header does not come from the source
//
// Different versions of clang give different instructions. With another version than the committed header's
// the check compares the digest of the source only, and says so. CLANG names the compiler (default: clang).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native', 'steer');
const sources = ['xdp_program.bpf.c', 'xdp_abi.h'];
const target = join(folder, 'xdp_program_code.h');
const clang = process.env['CLANG'] ?? 'clang';

/** Symbol of a map in the program, and its name in C++. */
const maps = {
  mr_flows: 'kFlows',
  mr_locals: 'kLocals',
  mr_addresses: 'kAddresses',
  mr_blocks: 'kBlocks',
  mr_counters: 'kCounters',
  mr_queues: 'kQueues',
  mr_sockets: 'kSockets',
};

function fail(message) {
  process.stderr.write(`build-xdp: ${message}\n`);
  process.exit(1);
}

function compilerVersion() {
  try {
    const text = execFileSync(clang, ['--version'], { encoding: 'utf8' });
    return /clang version (\d+)/.exec(text)?.[1] ?? fail(`cannot read the version of ${clang}`);
  } catch (error) {
    return fail(`${clang} does not run (${error.code ?? error.message}); on Debian: apt-get install clang`);
  }
}

function compile() {
  const scratch = mkdtempSync(join(tmpdir(), 'build-xdp-'));
  try {
    const object = join(scratch, 'program.o');
    const flags = [
      '-target',
      'bpfel',
      '-mcpu=v3',
      '-O2',
      '-g0',
      '-nostdinc',
      '-fno-ident',
      '-Wall',
      '-Wextra',
      '-Werror',
    ];
    execFileSync(clang, [...flags, '-c', sources[0], '-o', object], {
      cwd: folder,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    return readFileSync(object);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** Just enough of ELF64 (little-endian): named sections, and symbols. */
function readElf(file) {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1)
    fail('clang did not write a little-endian ELF64 object');
  const table = Number(file.readBigUInt64LE(40));
  const [size, count, namesIndex] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)];
  const sections = Array.from({ length: count }, (_, index) => {
    const at = table + index * size;
    const [offset, length] = [Number(file.readBigUInt64LE(at + 24)), Number(file.readBigUInt64LE(at + 32))];
    return {
      nameOffset: file.readUInt32LE(at),
      type: file.readUInt32LE(at + 4),
      flags: Number(file.readBigUInt64LE(at + 8)),
      link: file.readUInt32LE(at + 40),
      info: file.readUInt32LE(at + 44),
      length,
      body: file.subarray(offset, offset + length),
    };
  });
  const text = (body, at) => body.toString('latin1', at, body.indexOf(0, at));
  for (const section of sections) section.name = text(sections[namesIndex].body, section.nameOffset);
  return {
    sections,
    symbolName: (table_, index) => text(sections[table_.link].body, table_.body.readUInt32LE(index * 24)),
  };
}

/** The program's instructions, and which of them load the address of which map. */
function extract(file) {
  const { sections, symbolName } = readElf(file);
  const index = sections.findIndex((section) => section.name === 'xdp');
  if (index < 0) fail('the object has no section "xdp"');
  // Anything else that would have to be loaded (constants, functions that were not inlined) cannot be.
  const stray = sections.find((section, i) => i !== index && section.flags & 2 && section.length > 0);
  if (stray) fail(`the object has a section ${stray.name} that the loader does not know`);
  const code = sections[index].body;
  const instructions = Array.from({ length: code.length / 8 }, (_, i) => code.readBigUInt64LE(i * 8));
  const relocations = [];
  for (const section of sections.filter(({ type, info }) => type === 9 && info === index)) {
    for (let at = 0; at < section.length; at += 16) {
      const info = section.body.readBigUInt64LE(at + 8);
      const name = symbolName(sections[section.link], Number(info >> 32n));
      const map = maps[name];
      if (Number(info & 0xffffffffn) !== 1 || !map) fail(`unexpected relocation against "${name}"`);
      relocations.push({ instruction: Number(section.body.readBigUInt64LE(at)) / 8, map });
    }
  }
  return { instructions, relocations };
}

function render({ instructions, relocations }, digest, version) {
  const hex = instructions.map((word) => `0x${word.toString(16).padStart(16, '0')}`);
  const rows = [];
  for (let i = 0; i < hex.length; i += 4) rows.push(`    ${hex.slice(i, i + 4).join(', ')},`);
  return `// SPDX-License-Identifier: MIT
// clang-format off
// Generated by tools/build-xdp.mjs from xdp_program.bpf.c; do not edit. The instructions of the XDP
// program, and where the descriptors of its maps go.
// source sha256: ${digest}
// compiler: clang ${version}
#pragma once

#include <cstdint>

namespace millrace::steer {

enum class XdpMap : uint8_t { ${Object.values(maps).join(', ')} };
inline constexpr uint32_t kXdpMaps = ${Object.keys(maps).length};

// Stacks that share an interface share the program and its maps: only those of the same source can.
inline constexpr char kXdpSource[] = "${digest}";

struct XdpRelocation {
  uint16_t instruction;
  XdpMap map;
};

inline constexpr XdpRelocation kXdpRelocations[] = {
${relocations.map(({ instruction, map }) => `    {${instruction}, XdpMap::${map}},`).join('\n')}
};

inline constexpr uint64_t kXdpInstructions[] = {
${rows.join('\n')}
};

}  // namespace millrace::steer
`;
}

const check = process.argv.includes('--check');
const version = compilerVersion();
const hash = createHash('sha256');
for (const name of sources) hash.update(readFileSync(join(folder, name)));
const digest = hash.digest('hex');
const fresh = render(extract(compile()), digest, version);
if (!check) {
  writeFileSync(target, fresh);
  process.stdout.write(`build-xdp: wrote ${target}\n`);
} else {
  const committed = readFileSync(target, 'utf8');
  const madeBy = /^\/\/ compiler: clang (\d+)$/m.exec(committed)?.[1];
  if (!committed.includes(`// source sha256: ${digest}\n`)) {
    fail('xdp_program_code.h is older than its source: run node tools/build-xdp.mjs and commit the result');
  } else if (madeBy !== version) {
    process.stdout.write(
      `build-xdp: the source's digest agrees; instructions are clang ${madeBy}'s and were not compared (this is ${version})\n`,
    );
  } else if (committed !== fresh) {
    fail('xdp_program_code.h does not hold what its source compiles to: run node tools/build-xdp.mjs');
  } else {
    process.stdout.write('build-xdp: the committed instructions agree with the source\n');
  }
}
