/**
 * An error is never read as "not there": whatever single system call fails, a question is answered with
 * that error, or as it is answered without, and asked again it gets the right answer.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { E, errnoName, UserError } from '../../src/base/errno.js';
import { diffUpper } from '../../src/diff/diff.js';
import { Op } from '../../src/protocol/opcodes.js';
import type { Native } from '../../src/sys/native.js';
import { Sys } from '../../src/sys/sys.js';
import {
  cstr,
  Engine,
  type EngineParts,
  makeLayers,
  readIn,
  u32,
  u64,
  wire,
} from '../support/engine.js';
import { type Faulty, faulty } from '../support/faults.js';
import { FULL, operations } from '../support/links.js';
import { has } from '../support/needs.js';
import { dir, file, hardlink, opaque, whFile, whiteout } from '../support/tree.js';

const READY = has({ root: true, programs: ['setfattr', 'setfacl'] });

const X = { xattrs: { 'trusted.overlay.opaque': 'x' } };
const GONE = { xattrs: { 'trusted.overlay.whiteout': '' } };
const PARTS: EngineParts = {
  lowers: [
    [
      dir('x', X),
      file('x/gone', '', GONE),
      file('x/there', ''),
      dir('aufs'),
      whFile('aufs/gone'),
      whFile('covered'),
      dir('dev'),
      whiteout('dev/gone'),
      opaque('opaque'),
      file('opaque/in', 'in'),
    ],
    [
      dir('x'),
      file('x/gone', 'never seen'),
      dir('aufs'),
      file('aufs/gone', 'never seen'),
      file('aufs/stays', 'stays'),
      file('covered', 'never seen'),
      dir('dev'),
      file('dev/gone', 'never seen'),
      dir('opaque'),
      file('opaque/hidden', 'never seen'),
      file('a', 'lower', { mode: 0o644 }),
      hardlink('b', 'a'),
      dir('d'),
      hardlink('d/c', 'a'),
      dir('d/sub'),
      file('d/sub/deep', 'deep'),
      file('copied', 'copied'),
      file('meta', 'data of the copy'),
      dir('acl'),
    ],
  ],
  spec: FULL,
};

/** A directory with layers that a mount with all features has changed, ready to be mounted again. */
async function prepare(): Promise<string> {
  const top = await makeLayers(PARTS);
  const e = new Engine(top, PARTS);
  const { write, chmod, rename, unlink } = operations(() => e);
  write(e.node('a'), 'L');
  unlink('b');
  write(e.node('copied'), 'C');
  chmod(e.node('meta'), 0o100600);
  rename('meta', 'moved');
  rename('d/sub', 'sub');
  chmod(e.node('acl'), 0o40755);
  chmod(e.node('x'), 0o40750);
  e.ov.close();
  execFileSync('setfacl', ['-d', '-m', 'u:7:rwx', join(top, 'upper/acl')]);
  return top;
}

/** Names in a reply to READDIR. */
function names(body: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32LE(at + 16);
    found.push(body.toString('latin1', at + 24, at + 24 + length));
    at += Math.ceil((24 + length) / 8) * 8;
  }
  return found.filter((name) => name !== '.' && name !== '..').toSorted();
}

/** All that a client sees of a tree: names, numbers, modes, links and content. Throws the first error. */
function view(e: Engine, node = 1, path = ''): string[] {
  const lines: string[] = [];
  for (const name of names(e.must(Op.READDIR, node, readIn(0, 0x10000)).body)) {
    const entry = e.must(Op.LOOKUP, node, wire`${cstr(name)}`);
    const child = entry.u32(0);
    if (child === 0) {
      lines.push(`${path}/${name} listed but not found`);
      continue;
    }
    const attr = e.must(Op.GETATTR, child, wire`${u64(0)} ${u64(0)}  flags, dummy, fh`);
    const mode = attr.u32(16 + 60);
    const [ino, nlink] = [attr.u64(16), attr.u32(16 + 64)];
    const regular = (mode & 0o170000) === 0o100000;
    const text = regular ? e.must(Op.READ, child, readIn(0, 0x1000)).text() : '';
    lines.push(`${path}/${name} ${mode.toString(8)} ${ino} ${nlink} ${text}`);
    if ((mode & 0o170000) === 0o040000) lines.push(...view(e, child, `${path}/${name}`));
  }
  return lines;
}

const QUESTIONS: Readonly<Record<string, (e: Engine) => string>> = {
  'everything, from the root down': (e) => view(e).join('\n'),
  'READDIRPLUS of the root': (e) => plusNames(e, 1).join(' '),
  'READDIRPLUS where whiteouts are files': (e) => plusNames(e, e.node('x')).join(' '),
  'names that whiteouts of each kind hide': (e) =>
    ['x/gone', 'aufs/gone', 'covered', 'dev/gone', 'opaque/hidden', 'd/sub', 'b']
      .map((path) => String(e.node(path)))
      .join(' '),
  'the names of a hard link': (e) => `${e.text('a')} ${e.text('d/c')}`,
  'data behind a metadata-only copy that has moved': (e) => e.text('moved'),
  'a file below a directory that has moved': (e) => e.text('sub/deep'),
};

/** The names that READDIRPLUS lists. */
function plusNames(e: Engine, node: number): string[] {
  const { body } = e.must(Op.READDIRPLUS, node, readIn(0, 0x10000));
  const found: string[] = [];
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32LE(at + 128 + 16);
    found.push(body.toString('latin1', at + 128 + 24, at + 128 + 24 + length));
    at += Math.ceil((128 + 24 + length) / 8) * 8;
  }
  return found.toSorted();
}

/** What `ask` gives, or the error as text. */
function outcome(ask: () => string): { readonly answer?: string; readonly error?: string } {
  try {
    return { answer: ask() };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { error: error.message };
  }
}

const ERRNOS = [E.EIO, E.ENOMEM];

describe.skipIf(!READY)('with one system call that fails', () => {
  let top: string;
  let native: Native;
  let faults: Faulty;
  let right: string;
  beforeAll(async () => {
    top = await prepare();
    faults = faulty();
    native = faults.native;
    const e = new Engine(top, { ...PARTS, native });
    right = view(e).join('\n');
    e.ov.close();
    expect(right).not.toContain('never seen');
    expect(right).toMatch(/\/a 100644 \d+ 2 Lower/);
    expect(right).toContain('data of the copy');
  });
  afterAll(() => {
    rmSync(top, { recursive: true, force: true });
  });
  // With `auto` a mount could do without the index, and show old data.
  const mount = (): Engine =>
    new Engine(top, { ...PARTS, spec: { ...FULL, index: 'auto' }, native });

  describe.each(ERRNOS)('(errno %i)', (errno) => {
    it.each(Object.keys(QUESTIONS))('%s: the error, or the right answer', (name) => {
      const ask = QUESTIONS[name];
      const first = mount();
      const before = faults.calls;
      const expected = ask(first);
      const count = faults.calls - before;
      first.ov.close();
      let failed = 0;
      for (let at = 1; at <= count; at++) {
        const e = mount();
        faults.arm(at, errno);
        const { answer, error } = outcome(() => ask(e));
        const where = `call ${at}: ${faults.hit ?? 'none'} with ${errnoName(errno)}`;
        if (answer !== undefined) expect(answer, where).toBe(expected);
        if (error !== undefined) failed++;
        faults.disarm();
        expect(ask(e), `asked again after ${where}`).toBe(expected);
        e.ov.close();
      }
      expect(failed).toBeGreaterThan(0);
    });

    it('the mount is refused with a sentence, or shows the same; nothing is lost by a refused one', () => {
      const before = faults.calls;
      const first = mount();
      const count = faults.calls - before;
      first.ov.close();
      let refused = 0;
      for (let at = 1; at <= count; at++) {
        faults.arm(at, errno);
        let e: Engine | undefined;
        try {
          e = mount();
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
          refused++;
        }
        const where = `call ${at}: ${faults.hit ?? 'none'} with ${errnoName(errno)}`;
        faults.disarm();
        e ??= mount();
        expect(view(e).join('\n'), where).toBe(right);
        e.ov.close();
      }
      expect(refused).toBeGreaterThan(count / 2);
    });

    it('a diff throws, or is the right list', () => {
      const list = (): string =>
        diffUpper(
          join(top, 'upper'),
          [join(top, 'lower0'), join(top, 'lower1')],
          [],
          new Sys(native),
        )
          .map(({ kind, path }) => `${kind} ${path}`)
          .join('\n');
      const before = faults.calls;
      const expected = list();
      const count = faults.calls - before;
      let failed = 0;
      for (let at = 1; at <= count; at++) {
        faults.arm(at, errno);
        const { answer } = outcome(list);
        const where = `call ${at}: ${faults.hit ?? 'none'} with ${errnoName(errno)}`;
        if (answer === undefined) failed++;
        else expect(answer, where).toBe(expected);
        faults.disarm();
      }
      expect(failed).toBeGreaterThan(count / 2);
    });
  });
});

describe.skipIf(!READY)('a change after a question that failed', () => {
  const mkdir = (e: Engine, parent: number, name: string): number =>
    e.ask(Op.MKDIR, parent, wire`${u32(0o777)} ${u32(0o077)} ${cstr(name)}`).error;

  it('a default ACL is asked for again: the umask does not apply below it', async () => {
    const top = await prepare();
    const faults = faulty();
    const { native } = faults;
    const mode = (e: Engine, name: string): string =>
      (e.lookup(e.node('acl'), name).u32(40 + 60) & 0o777).toString(8);
    let e = new Engine(top, { ...PARTS, native });
    for (let at = 1; ; at++) {
      const parent = e.node('acl');
      faults.arm(at, E.EIO);
      const error = mkdir(e, parent, `n${at}`);
      const { hit } = faults;
      faults.disarm();
      if (error === 0) expect(mode(e, `n${at}`), `after ${hit ?? 'nothing'}`).toBe('775');
      expect(mkdir(e, parent, `m${at}`)).toBe(0);
      expect(mode(e, `m${at}`), `after ${hit ?? 'nothing'}`).toBe('775');
      if (hit === undefined) break;
      e = e.reopen({ ...PARTS, native });
    }
    e.close();
  });
});
