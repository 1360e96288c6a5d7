import { existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { marked, type PlannedFile, putFiles, takeFiles } from '../../../src/cli/install/files.js';
import { systemUnits, userUnits } from '../../../src/cli/install/units.js';
import { REPOSITORY } from '../../support/root.js';

const directory = (): string => mkdtempSync(join(tmpdir(), 'stratafs-install-'));
const read = (path: string): string => readFileSync(path, 'utf8');

test('files are written with their mark and mode, and go with their directory', () => {
  const own = join(directory(), 'own');
  const files: PlannedFile[] = [
    { path: join(own, 'a.conf'), content: 'a = 1\n' },
    { path: join(own, 'run'), content: '#!/bin/sh\nexit 0\n', mode: 0o755 },
    { path: join(own, 'b.json'), content: '{}\n', comment: 'none' },
  ];
  putFiles('demo', files);
  expect(read(files[0].path)).toMatch(/^# stratafs install demo wrote this .*\na = 1\n$/);
  expect(read(files[1].path)).toMatch(/^#!\/bin\/sh\n# stratafs install demo .*\nexit 0\n$/);
  expect(statSync(files[1].path).mode & 0o7777).toBe(0o755);
  expect(read(files[2].path)).toBe('{}\n');
  // A newer version has another content.
  putFiles('demo', [{ ...files[0], content: 'a = 2\n' }, files[2]]);
  expect(read(files[0].path)).toContain('a = 2');
  expect(takeFiles('demo', files, [own])).toEqual([]);
  expect(existsSync(own)).toBe(false);
});

test('what is not ours, or was changed, stays as it is, and nothing else is written', () => {
  const top = directory();
  const first = { path: join(top, 'first'), content: 'x\n' };
  const second = { path: join(top, 'second'), content: 'y\n' };
  const both = [first, second];
  writeFileSync(second.path, 'theirs\n');
  expect(() => {
    putFiles('demo', both);
  }).toThrow(`${second.path} is there and not from stratafs install demo`);
  expect(existsSync(first.path)).toBe(false);
  writeFileSync(second.path, marked('other', second));
  expect(() => {
    putFiles('demo', both);
  }).toThrow('not from stratafs install demo');
  writeFileSync(second.path, `${marked('demo', second)}more\n`);
  expect(() => {
    putFiles('demo', both);
  }).toThrow('was changed since');
  expect(takeFiles('demo', both)).toEqual([
    `${second.path} stays, as it was changed: remove it by hand`,
  ]);
  expect(read(second.path)).toContain('more');
});

test('where one file cannot be written, none is', () => {
  const top = directory();
  writeFileSync(join(top, 'file'), '');
  const files = [
    { path: join(top, 'first'), content: 'x\n' },
    { path: join(top, 'file/second'), content: 'y\n' },
  ];
  expect(() => {
    putFiles('demo', files);
  }).toThrow(/file\/second: not a directory \(ENOTDIR\)/);
  expect(existsSync(files[0].path)).toBe(false);
  mkdirSync(join(top, 'first'));
  expect(() => {
    putFiles('demo', files.slice(0, 1));
  }).toThrow('is there and not from');
});

test('the units of the Debian package are those that are installed', () => {
  const packaged = join(REPOSITORY, 'packaging/units');
  for (const { name, content } of systemUnits('/usr/bin/stratafs')) {
    expect(read(join(packaged, 'system', name))).toBe(content);
  }
  for (const { name, content } of userUnits('/usr/bin/stratafs')) {
    expect(read(join(packaged, 'user', name))).toBe(content);
  }
  expect(userUnits('/opt/a b%$"/x')[1].content).toContain('ExecStart="/opt/a b%%$$\\"/x" host');
});
