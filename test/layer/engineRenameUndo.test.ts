/** A rename whose last step fails: both names are what they were, now and after the next mount. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { isDir } from '../../src/base/mode.js';
import { Op } from '../../src/protocol/opcodes.js';
import { RENAME_WHITEOUT } from '../../src/sys/constants.js';
import type { Native } from '../../src/sys/native.js';
import { cstr, Engine, type EngineParts, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file, whiteout } from '../support/tree.js';

const PARTS: EngineParts = {
  lowers: [
    [
      ...[file('lower', 'lower'), file('covered', 'below'), file('gone', 'hidden')],
      ...[file('other', 'lower other'), dir('emptied'), file('emptied/f', 'x'), dir('below')],
    ],
  ],
  upper: [
    ...[file('upper', 'upper'), file('covered', 'covered'), whiteout('gone'), file('target', 't')],
    ...[dir('updir'), file('updir/in', 'in'), dir('emptied'), whiteout('emptied/f'), dir('empty')],
  ],
  spec: { metacopy: true, redirectDir: 'on' },
};

let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});

/** The renameat2 that brings something from the workdir to the old name fails. */
function failCover(name: string): void {
  const sys = e.sys as { native: Native };
  const real = sys.native;
  const value: Native['renameat2'] = (fromDir, from, toDir, to, flags) => {
    if (fromDir === e.ov.workDir() && to === name) return -E.EIO;
    // As on a file system that does not know the flag.
    if ((flags & RENAME_WHITEOUT) !== 0) return -E.EINVAL;
    return real.renameat2(fromDir, from, toDir, to, flags);
  };
  const failing = Object.create(real) as Native;
  Object.defineProperty(failing, 'renameat2', { value });
  sys.native = failing;
}

const lift = (): void => {
  const sys = e.sys as { native: Native };
  sys.native = Object.getPrototypeOf(sys.native) as Native;
};

function rename(from: string, to: string, flags: number): number {
  const body = wire`
    ${u64(1)}      newdir
    ${u32(flags)}  flags
    00 00 00 00    padding
    ${cstr(from)}  name
    ${cstr(to)}    new name`;
  return e.ask(Op.RENAME2, 1, body).error;
}

/** What a name shows: a file's text, "dir" with what is known to be in it, or "none". */
function shown(name: string): string {
  const node = e.node(name);
  if (node === 0) return 'none';
  if (!isDir(e.ov.table.mode(node))) return e.text(name);
  for (const inner of ['in', 'f']) if (e.node(`${name}/${inner}`) !== 0) return `dir with ${inner}`;
  return 'empty dir';
}

const FILES = ['target', 'other', 'covered', 'gone', 'new'];
const cases = [
  ...['lower', 'upper'].flatMap((from) => FILES.map((to) => [from, to] as const)),
  ...['emptied', 'empty', 'below', 'gone', 'new'].map((to) => ['updir', to] as const),
];

describe.skipIf(!has({ root: true }))('a rename that cannot leave a whiteout', () => {
  for (const [from, to] of cases) {
    // Without the flag only what shows a lower needs one.
    for (const flags of from === 'lower' ? [0, RENAME_WHITEOUT] : [RENAME_WHITEOUT]) {
      it(`${from} to ${to}${flags === 0 ? '' : ', which is to leave one that clients see'}`, () => {
        const before = [shown(from), shown(to)];
        failCover(from);
        expect(rename(from, to, flags)).toBe(-E.EIO);
        lift();
        expect([shown(from), shown(to)]).toEqual(before);
        e = e.reopen(PARTS);
        expect([shown(from), shown(to)]).toEqual(before);
        expect(rename(from, to, 0)).toBe(0);
        expect([shown(from), shown(to)]).toEqual(['none', before[0]]);
      });
    }
  }
});
