/** Opcodes, flags and system call constants against the headers of this machine. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as flags from '../../../src/protocol/flags.js';
import { Op, opcodeName, OPCODES } from '../../../src/protocol/opcodes.js';
import * as sys from '../../../src/sys/constants.js';
import { loadNative } from '../../../src/sys/native.js';

const compiled = loadNative().layout();
const header = readFileSync('/usr/include/linux/fuse.h', 'utf8');

/** An enum row or a #define of Debian's header, or a constant the addon carries after it. */
function headerValue(name: string): number | undefined {
  if (`const.${name}` in compiled) return compiled[`const.${name}`];
  const row = new RegExp(
    `^(?:\\s|#define\\s+)${name}(?:\\s*=|\\s)\\s*(.+?),?\\s*(?:/\\*.*)?$`,
    'm',
  );
  const text = row.exec(header)?.[1];
  if (text === undefined) return undefined;
  const shift = /^\(1(?:ULL)? << (\d+)\)$/.exec(text);
  return shift ? 2 ** Number(shift[1]) : Number(text);
}

describe('opcodes', () => {
  it.each(Object.entries(Op))('%s has its number', (name, code) => {
    expect(headerValue(`FUSE_${name}`)).toBe(code);
    expect(opcodeName(code)).toBe(name);
    expect(code).toBeLessThan(OPCODES);
  });

  it('names an unknown opcode by its number', () => {
    expect(opcodeName(4096)).toBe('OP4096');
  });
});

describe('flags', () => {
  it.each(Object.entries(flags.Init))('INIT flag %s', (name, value) => {
    expect(headerValue(`FUSE_${name}`)).toBe(value >>> 0);
  });

  it.each(Object.entries(flags.Init2))('INIT flag %s of the second word', (name, value) => {
    expect(headerValue(`FUSE_${name}`)).toBe((value >>> 0) * 2 ** 32);
  });

  it.each(Object.entries(flags.Fattr))('FATTR_%s', (name, value) => {
    expect(headerValue(`FATTR_${name}`)).toBe(value);
  });

  it.each([
    ['FUSE_WRITE_CACHE', flags.WRITE_CACHE],
    ['FUSE_WRITE_KILL_SUIDGID', flags.WRITE_KILL_SUIDGID],
    ['FUSE_FSYNC_FDATASYNC', flags.FSYNC_FDATASYNC],
    ['FUSE_SETXATTR_ACL_KILL_SGID', flags.SETXATTR_ACL_KILL_SGID],
    ['FUSE_IOCTL_DIR', flags.IOCTL_DIR],
    ['FUSE_ROOT_ID', flags.ROOT],
  ])('%s', (name, value) => {
    expect(headerValue(name)).toBe(value);
  });

  it('speaks up to the protocol the addon was written for', () => {
    expect(compiled['const.FUSE_KERNEL_MINOR_VERSION']).toBe(45);
  });
});

const HEADERS = [
  'fcntl.h',
  'stdio.h',
  'sys/ioctl.h',
  'sys/stat.h',
  'sys/xattr.h',
  'linux/falloc.h',
  'linux/fs.h',
  'linux/mount.h',
  'linux/openat2.h',
];

/** What the C compiler makes of each macro that it knows; a name it does not know is left out. */
function macros(names: readonly string[]): Map<string, number> {
  const print = (name: string): string =>
    `#ifdef ${name}\n  printf("${name} %lld\\n", (long long)(${name}));\n#endif`;
  const includes = HEADERS.map((name) => `#include <${name}>`);
  const lines = ['#define _GNU_SOURCE', ...includes, 'int main(void) {', ...names.map(print), '}'];
  const dir = mkdtempSync(join(tmpdir(), 'stratafs-constants-'));
  try {
    const program = join(dir, 'constants');
    execFileSync('gcc', ['-xc', '-', '-o', program], { input: lines.join('\n') });
    const out = execFileSync(program, { encoding: 'latin1' }).trim().split('\n');
    return new Map(out.map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe('system call constants', () => {
  const names = Object.keys(sys);
  const known = macros(names);

  it('mostly are in the headers', () => {
    expect(known.size).toBeGreaterThan(names.length * 0.8);
  });

  it.each(Object.entries(sys).filter(([name]) => known.has(name)))('%s', (name, value) => {
    expect(value).toBe(known.get(name));
  });
});
