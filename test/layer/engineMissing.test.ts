/** Marks of directories that lead to what no layer has: EIO, and a line that says where. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file, opaque, whiteout } from '../support/tree.js';

const lines = vi.hoisted((): string[] => []);
vi.mock('../../src/sys/log.js', () => ({
  log: (line: string) => lines.push(line),
  writeLine: (line: string) => lines.push(line),
}));

const NEEDS = { root: true, programs: ['setfattr'] };
const REDIRECT = 'trusted.overlay.redirect';

const to = (path: string, redirect: string): Entry =>
  dir(path, { xattrs: { [REDIRECT]: redirect } });

let engine: Engine | undefined;

async function over(lowers: EngineParts['lowers']): Promise<Engine> {
  engine = await Engine.open({ lowers, spec: { metacopy: true, redirectDir: 'on' } });
  return engine;
}

/** Marks a directory of the upper, which is made when it is not there. */
function mark(e: Engine, path: string, redirect: string): void {
  const at = join(e.top, 'upper', path);
  mkdirSync(at, { recursive: true });
  execFileSync('setfattr', ['-n', REDIRECT, '-v', redirect, at]);
}

describe.skipIf(!has(NEEDS))('a directory whose redirect', () => {
  beforeEach(() => {
    lines.length = 0;
  });
  afterEach(() => {
    engine?.close();
    engine = undefined;
  });

  it('leads to nothing is EIO, with one line that names the path and the layer', async () => {
    const e = await over([[dir('real'), file('real/f', 'f')]]);
    mkdirSync(join(e.top, 'upper/in'));
    mark(e, 'in/lost', '/gone');
    expect(e.lookup(e.node('in'), 'lost').error).toBe(-E.EIO);
    expect(lines).toEqual([
      `no lower layer has what the directory /in/lost of ${join(e.top, 'upper')} is redirected to`,
    ]);
  });

  it('leads to a whiteout, to a file, or to what is hidden, is EIO', async () => {
    const e = await over([
      [whiteout('covered'), file('file', 'x'), opaque('hides'), file('.wh.oci', '')],
      [dir('covered'), dir('file'), dir('hides'), dir('hides/d'), dir('oci')],
    ]);
    for (const target of ['covered', 'file', 'hides/d', 'oci']) {
      mark(e, 'd', `/${target}`);
      expect(e.lookup(1, 'd').error, target).toBe(-E.EIO);
    }
  });

  it('passes a hidden directory on its way sees nothing below that', async () => {
    const e = await over([
      [file('.wh.a', ''), dir('b'), file('.wh.b', ''), dir('b/d'), file('b/d/new', '')],
      [dir('a'), dir('a/d'), dir('b'), dir('b/d'), file('b/d/old', '')],
    ]);
    mark(e, 'gone', '/a/d');
    expect(e.lookup(1, 'gone').error).toBe(-E.EIO);
    mark(e, 'there', '/b/d');
    expect(e.lookup(e.node('there'), 'new').u64(0)).not.toBe(0n);
    expect(e.lookup(e.node('there'), 'old').u64(0)).toBe(0n);
  });

  it('stands in a lower and leads to nothing is EIO, also in the bottom layer', async () => {
    const e = await over([[to('upper', '/gone')], [to('lowest', '/gone'), dir('d')]]);
    for (const [name, layer] of [
      ['upper', 'lower0'],
      ['lowest', 'lower1'],
    ] as const) {
      expect(e.lookup(1, name).error, name).toBe(-E.EIO);
      expect(lines.at(-1)).toContain(`/${name} of ${join(e.top, layer)} is`);
    }
  });

  it('stands in a lower that answers another redirect, and leads to nothing, is EIO', async () => {
    const e = await over([[to('middle', '/gone'), file('middle/f', 'f')], [dir('real')]]);
    mark(e, 'd', '/middle');
    expect(e.lookup(1, 'd').error).toBe(-E.EIO);
    expect(lines.at(-1)).toContain(`/d of ${join(e.top, 'lower0')} is`);
  });

  it('is answered by one lower is shown, whatever the others have', async () => {
    const e = await over([
      [dir('other')],
      [dir('old'), file('old/f', 'found')],
      [file('old', 'no directory')],
    ]);
    mark(e, 'd', '/old');
    expect(e.text('d/f')).toBe('found');
    expect(lines).toEqual([]);
  });

  it('does not count, as the directory is opaque, is shown', async () => {
    const e = await over([[dir('real')]]);
    mark(e, 'd', '/gone');
    const at = join(e.top, 'upper/d');
    execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', at]);
    expect(e.lookup(1, 'd').error).toBe(0);
    expect(lines).toEqual([]);
  });

  it('is broken in a lower does not keep what covers it from being removed', async () => {
    const e = await over([[to('lost', '/gone')]]);
    const at = join(e.top, 'upper/lost');
    mkdirSync(at);
    execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', at]);
    e.must(Op.RMDIR, 1, wire`${cstr('lost')}`);
    expect(e.node('lost')).toBe(0);
  });
});
