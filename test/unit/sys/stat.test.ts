/** Views of struct statx: what they read is what Node's own stat tells; a borrowed one is overwritten. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AT_FDCWD } from '../../../src/sys/constants.js';
import { savedSize, SPOILS, spoil, type Stat } from '../../../src/sys/stat.js';
import { Sys } from '../../../src/sys/sys.js';

const sys = new Sys();
const POISON = 0xa5a5_a5a5;
let top = '';

beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), 'stratafs-stat-'));
});
afterAll(() => {
  rmSync(top, { recursive: true });
});

function shows(stat: Stat, path: string): void {
  expect(sys.statName(AT_FDCWD, path, stat)).toBe(0);
  const own = lstatSync(path);
  const { dev, mtimeNs } = lstatSync(path, { bigint: true });
  expect(stat).toMatchObject({ mode: own.mode, nlink: own.nlink, uid: own.uid, gid: own.gid });
  expect(stat).toMatchObject({ ino: own.ino, size: own.size, blocks: own.blocks });
  expect(stat.blksize).toBe(own.blksize);
  expect(BigInt(stat.mtime) * 1_000_000_000n + BigInt(stat.mtimeNsec)).toBe(mtimeNs);
  const major = Number((dev >> 8n) & 0xfffn);
  const minor = Number((dev & 0xffn) | ((dev >> 12n) & 0xfff00n));
  expect([stat.devMajor, stat.devMinor]).toEqual([major, minor]);
}

describe('a view', () => {
  test('shows a file', () => {
    writeFileSync(join(top, 'file'), 'twelve bytes');
    shows(sys.stats.probe, join(top, 'file'));
  });
  test('shows sizes above 2^32', () => {
    writeFileSync(join(top, 'large'), '');
    truncateSync(join(top, 'large'), 5 * 2 ** 32 + 7);
    shows(sys.stats.probe, join(top, 'large'));
    expect([sys.stats.probe.sizeLo, sys.stats.probe.sizeHi]).toEqual([7, 5]);
  });
  test('shows times before 1970', () => {
    // Node's own utimes takes no time before 1970.
    execFileSync('touch', ['-a', '-d', '@-5', join(top, 'old')]);
    execFileSync('touch', ['-m', '-d', '@-7', join(top, 'old')]);
    shows(sys.stats.probe, join(top, 'old'));
    expect([sys.stats.probe.atime, sys.stats.probe.mtime]).toEqual([-5, -7]);
  });
  test('shows a symlink itself, a directory and a device', () => {
    symlinkSync('nowhere', join(top, 'link'));
    shows(sys.stats.probe, join(top, 'link'));
    shows(sys.stats.probe, top);
    sys.statName(AT_FDCWD, '/dev/null', sys.stats.probe);
    expect([sys.stats.probe.rdevMajor, sys.stats.probe.rdevMinor]).toEqual([1, 3]);
  });
  test('is saved, and loaded whole or with its times alone', () => {
    const { probe, attrs } = sys.stats;
    sys.statName(AT_FDCWD, join(top, 'old'), probe);
    const saved = probe.save();
    expect(savedSize(saved)).toEqual([0, 0]);
    sys.statName(AT_FDCWD, join(top, 'file'), attrs);
    const { size } = attrs;
    attrs.loadTimes(saved);
    expect([attrs.size, attrs.mtime]).toEqual([size, -7]);
    attrs.load(saved);
    expect([attrs.size, attrs.hasInoOf(probe)]).toEqual([0, true]);
  });
  test('takes other values', () => {
    const { attrs, copy } = sys.stats;
    Object.assign(attrs, { mode: 0o100644, uid: 7, gid: 8, rdevMajor: 1, rdevMinor: 2 });
    attrs.blocks = 3 * 2 ** 32 + 1;
    copy.copyFrom(attrs);
    expect(copy).toMatchObject({ mode: 0o100644, uid: 7, gid: 8, rdevMajor: 1, rdevMinor: 2 });
    expect(copy.blocks).toBe(3 * 2 ** 32 + 1);
  });
});

describe('the views of a thread', () => {
  test('lie apart', () => {
    const places = Object.values(sys.stats).map((stat: Stat) => stat.at);
    for (const at of places)
      for (const b of places) expect(at === b || Math.abs(at - b) >= 256).toBe(true);
  });
  test('are overwritten in the tests by whoever may overwrite them', () => {
    expect(SPOILS).toBe(true);
    spoil(sys.stats.probe, sys.stats.copy);
    expect([sys.stats.probe.uid, sys.stats.copy.inoLo]).toEqual([POISON, POISON]);
    expect(sys.stats.attrs.uid).not.toBe(POISON);
  });
});
