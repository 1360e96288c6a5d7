/** RENAME and RENAME2: every flag, over files and directories of the upper and of a lower. */
import { existsSync, lstatSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type Reply, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file, whiteout } from '../support/tree.js';

const [NOREPLACE, EXCHANGE, WHITEOUT] = [1, 2, 4];

let e: Engine;
beforeEach(async () => {
  e = await Engine.open({
    lowers: [
      [
        file('lf', 'lower file'),
        dir('ld'),
        file('ld/in', 'x'),
        dir('lempty'),
        file('both', 'lower'),
        file('gone', 'hidden'),
      ],
    ],
    upper: [
      file('uf', 'upper file'),
      dir('ud'),
      file('ud/in', 'y'),
      dir('uempty'),
      file('both', 'upper'),
      whiteout('gone'),
    ],
    spec: { metacopy: false, redirectDir: 'follow' },
  });
});
afterEach(() => {
  e.close();
});

const upper = (name: string): string => join(e.top, 'upper', name);
const text = (name: string): string => readFileSync(upper(name), 'latin1');
const hides = (name: string): boolean =>
  existsSync(upper(name)) && lstatSync(upper(name)).isCharacterDevice();

function rename(from: string, to: string, flags = 0, parents = [1, 1]): Reply {
  const body = wire`
    ${u64(parents[1])}   newdir
    ${u32(flags)}        flags
    00 00 00 00          padding
    ${cstr(from)}        name
    ${cstr(to)}          new name`;
  return e.ask(Op.RENAME2, parents[0], body);
}

describe.skipIf(!has({ root: true }))('RENAME', () => {
  it('takes newdir and two names', () => {
    const node = e.node('uf');
    const body = wire`
      01 00 00 00 00 00 00 00   newdir FUSE_ROOT_ID
      75 66 00                  name "uf"
      6e 65 77 00               new name "new"`;
    expect(e.must(Op.RENAME, 1, body).body).toHaveLength(0);
    expect(text('new')).toBe('upper file');
    expect(existsSync(upper('uf'))).toBe(false);
    expect(e.node('new')).toBe(node);
    expect(e.node('uf')).toBe(0);
  });

  it('of a lower file copies it up and hides its old name', () => {
    expect(rename('lf', 'new').error).toBe(0);
    expect(text('new')).toBe('lower file');
    expect(hides('lf')).toBe(true);
  });

  it('of an upper file over a lower one leaves a whiteout at its own name when needed', () => {
    expect(rename('both', 'lf').error).toBe(0);
    expect(text('lf')).toBe('upper');
    expect(hides('both')).toBe(true);
    expect(e.node('both')).toBe(0);
  });

  it('over a whiteout leaves none', () => {
    expect(rename('uf', 'gone').error).toBe(0);
    expect(text('gone')).toBe('upper file');
    expect(existsSync(upper('uf'))).toBe(false);
  });

  it('of an upper directory over an empty lower one hides what lies below it', () => {
    expect(rename('ud', 'lempty').error).toBe(0);
    expect(e.node('lempty/in')).toBeGreaterThan(1);
    expect(e.node('ud')).toBe(0);
  });

  it('of an upper directory over an empty upper one', () => {
    expect(rename('ud', 'uempty').error).toBe(0);
    expect(readdirSync(upper('uempty'))).toEqual(['in']);
  });

  it.each([
    ['none', 'new', E.ENOENT],
    ['gone', 'new', E.ENOENT],
    ['uf', 'ud', E.EISDIR],
    ['ud', 'uf', E.ENOTDIR],
    ['uempty', 'ud', E.ENOTEMPTY],
    ['uempty', 'ld', E.ENOTEMPTY],
    ['uf', 'x'.repeat(256), E.ENAMETOOLONG],
  ])('%s to %s is refused', (from, to, error) => {
    expect(rename(from, to).error).toBe(-error);
    expect(e.node('uf')).toBeGreaterThan(1);
  });

  it('of a directory with lowers, without redirects, answers EXDEV and changes nothing', () => {
    const before = readdirSync(upper(''));
    expect(rename('ld', 'new').error).toBe(-E.EXDEV);
    expect(readdirSync(upper(''))).toEqual(before);
    expect(e.node('ld/in')).toBeGreaterThan(1);
  });

  it('into another directory, both of the upper and of a lower', () => {
    const [ud, ld] = [e.node('ud'), e.node('ld')];
    expect(rename('in', 'moved', 0, [ld, ud]).error).toBe(0);
    expect(text('ud/moved')).toBe('x');
    expect(hides('ld/in')).toBe(true);
    expect(rename('uf', 'moved', 0, [1, ld]).error).toBe(0);
    expect(text('ld/moved')).toBe('upper file');
  });

  it('keeps what is replaced alive for those who have it', () => {
    const node = e.node('uf');
    expect(rename('both', 'uf').error).toBe(0);
    const read = wire`${u64(0)} ${u64(0)} ${u32(50)} ${u32(0)} ${u64(0)} ${u64(0)}`;
    expect(e.must(Op.READ, node, read).text()).toBe('upper file');
    expect(e.must(Op.READ, e.node('uf'), read).text()).toBe('upper');
    e.forget(node);
    expect(readdirSync(join(e.top, 'work/work')).filter((name) => name.startsWith('#o'))).toEqual(
      [],
    );
  });

  it('of a name to another link of the same file leaves both', () => {
    const node = e.node('uf');
    e.must(Op.LINK, 1, wire`${u64(node)} ${cstr('link')}`);
    expect(rename('uf', 'link').error).toBe(0);
    expect([e.node('uf'), e.node('link')]).toEqual([node, node]);
    expect(lstatSync(upper('uf')).nlink).toBe(2);
  });
});

describe.skipIf(!has({ root: true }))('RENAME2', () => {
  it('with NOREPLACE refuses a name that is taken, in the upper or a lower', () => {
    for (const to of ['both', 'lf', 'ld', 'ud']) {
      expect(rename('uf', to, NOREPLACE).error).toBe(-E.EEXIST);
    }
    expect(rename('uf', 'gone', NOREPLACE).error).toBe(0);
    expect(text('gone')).toBe('upper file');
  });

  it.each([
    ['uf', 'lf'],
    ['uf', 'ud'],
    ['lf', 'ud'],
    ['ud', 'uempty'],
    ['lf', 'both'],
  ])('with EXCHANGE lets %s and %s change places', (a, b) => {
    const [first, second] = [e.node(a), e.node(b)];
    expect(rename(a, b, EXCHANGE).error).toBe(0);
    expect([e.node(a), e.node(b)]).toEqual([second, first]);
  });

  it('with EXCHANGE keeps contents with their objects', () => {
    expect(rename('lf', 'uf', EXCHANGE).error).toBe(0);
    expect([text('lf'), text('uf')]).toEqual(['upper file', 'lower file']);
  });

  it('with EXCHANGE needs both, and without redirects no directory with lowers', () => {
    expect(rename('uf', 'none', EXCHANGE).error).toBe(-E.ENOENT);
    expect(rename('uf', 'gone', EXCHANGE).error).toBe(-E.ENOENT);
    expect(rename('uf', 'ld', EXCHANGE).error).toBe(-E.EXDEV);
  });

  it('with WHITEOUT leaves a device that is shown as 0:0 and is none on disk', () => {
    for (const [from, to] of [
      ['uf', 'new'],
      ['lf', 'both'],
      ['ld', 'ud2'],
    ] as const) {
      expect([from, rename(from, to, WHITEOUT | (to === 'both' ? 0 : NOREPLACE)).error]).toEqual([
        ...[from, to === 'ud2' ? -E.EXDEV : 0],
      ]);
    }
    for (const left of ['uf', 'lf']) {
      expect(lstatSync(join(e.top, 'upper', left)).rdev).toBe(1);
      expect(lstatSync(join(e.top, 'upper', left)).isCharacterDevice()).toBe(true);
      const reply = e.lookup(1, left);
      expect([reply.error, reply.u32(116)]).toEqual([0, 0]);
    }
    expect([text('new'), text('both')]).toEqual(['upper file', 'lower file']);
  });

  it('with WHITEOUT and EXCHANGE, or an unknown flag, is EINVAL', () => {
    for (const flags of [WHITEOUT | EXCHANGE, 8, 0x80000000]) {
      expect(rename('uf', 'new', flags).error).toBe(-E.EINVAL);
    }
    expect(text('uf')).toBe('upper file');
  });
});

describe.skipIf(!has({ root: true }))('a name given back and forth', () => {
  it('leaves the same nodes, no orphan and no temporary file', () => {
    const [uf, both] = [e.node('uf'), e.node('both')];
    for (let i = 0; i < 50; i++) {
      expect(rename('uf', 'tmp').error).toBe(0);
      expect(rename('both', 'uf').error).toBe(0);
      expect(rename('tmp', 'both').error).toBe(0);
      expect(rename('uf', 'both', EXCHANGE).error).toBe(0);
    }
    expect([e.node('uf'), e.node('both')]).toEqual([uf, both]);
    expect(readdirSync(join(e.top, 'work/work')).filter((name) => name !== '#whiteout')).toEqual(
      [],
    );
  });
});
