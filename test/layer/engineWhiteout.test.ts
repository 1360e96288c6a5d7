/** Which objects of a layer are whiteouts: type × name × xattrs, alone and over a lower layer. */
import { afterEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { dotHidden, dotWhiteout, isDotMark } from '../../src/layer/whiteout.js';
import { readEntries } from '../../src/layer/directory.js';
import { dirListingOf } from '../../src/overlay/lookup/readdir.js';
import type { Native } from '../../src/sys/native.js';
import { Sys } from '../../src/sys/sys.js';
import { Engine } from '../support/engine.js';
import { has } from '../support/needs.js';
import {
  device,
  dir,
  type Entry,
  fifo,
  file,
  opaque,
  symlink,
  whFile,
  whiteout,
  whOpaque,
} from '../support/tree.js';

let e: Engine | undefined;
afterEach(() => {
  e?.close();
  e = undefined;
});

/** What the root shows of `name`: "hidden", or the type of what is there; asked by name and by listing. */
async function shows(
  name: string,
  lowers: readonly (readonly Entry[])[],
  upper: readonly Entry[] = [],
): Promise<string> {
  e = await Engine.open({ lowers, upper });
  const looked = e.lookup(1, name);
  const byName = looked.u64(0) === 0n ? 'hidden' : (TYPES[looked.u32(40 + 60) >> 12] ?? '?');
  const index = dirListingOf(e.ov, 1);
  if (typeof index === 'number') throw new Error(`no listing: ${index}`);
  const slot = index.slot(name);
  const byListing = slot === undefined ? 'hidden' : (TYPES[index.type(slot)] ?? '?');
  expect(byListing).toBe(byName);
  return byName;
}
const TYPES: Readonly<Record<number, string>> = {
  1: 'fifo',
  2: 'device',
  4: 'dir',
  8: 'file',
  10: 'symlink',
};

const XMARK = { 'trusted.overlay.opaque': 'x' };
const XFILE = { 'trusted.overlay.whiteout': '' };
const USER_XFILE = { 'user.overlay.whiteout': '' };

describe.skipIf(!has({ root: true }))('an object over a lower file of its name', () => {
  const lower = [file('n', 'lower')];
  it.each<[string, Entry, string]>([
    ['a file', file('n', ''), 'file'],
    [
      'an empty file with overlay.whiteout in an unmarked directory',
      file('n', '', { xattrs: XFILE }),
      'file',
    ],
    ['a 0:0 device', whiteout('n'), 'hidden'],
    ['a 0:0 device with permissions', device('n', 0, 0, { mode: 0o666 }), 'hidden'],
    ['a 0:1 device', device('n', 0, 1), 'device'],
    ['a 1:0 device', device('n', 1, 0), 'device'],
    ['a FIFO', fifo('n'), 'fifo'],
    ['a symlink', symlink('n', '(overlay-whiteout)'), 'symlink'],
    ['a directory', dir('n'), 'dir'],
    ['an opaque directory', opaque('n'), 'dir'],
    ['`.wh.n` as a directory', dir('.wh.n'), 'hidden'],
    ['`.wh.n`', whFile('n'), 'hidden'],
    ['`.wh.m`', whFile('m'), 'file'],
  ])('%s in a layer', async (_, entry, expected) => {
    expect(await shows('n', [[entry], lower])).toBe(expected);
  });

  it.each<[string, Entry, string]>([
    ['a 0:0 device', whiteout('n'), 'hidden'],
    ['a 0:1 device', device('n', 0, 1), 'device'],
    ['an empty file with overlay.whiteout', file('n', '', { xattrs: XFILE }), 'file'],
    ['`.wh.n`, which is a name like any other there', whFile('n'), 'file'],
  ])('%s in the upper', async (_, entry, expected) => {
    expect(await shows('n', [lower], [entry])).toBe(expected);
  });

  it('a whiteout of the lowest layer hides nothing and is not shown', async () => {
    expect(await shows('n', [[], [whiteout('n')]])).toBe('hidden');
  });
});

describe.skipIf(!has({ root: true }))('xwhiteouts', () => {
  const inside = async (mark: Record<string, string>, entry: Entry): Promise<string> => {
    e = await Engine.open({
      lowers: [
        [dir('d', { xattrs: mark }), entry],
        [dir('d'), file('d/n', 'x')],
      ],
    });
    const d = e.node('d');
    const byName = e.lookup(d, 'n').u64(0) === 0n ? 'hidden' : 'shown';
    const index = dirListingOf(e.ov, d);
    if (typeof index === 'number') throw new Error(`no listing: ${index}`);
    expect(index.slot('n') === undefined ? 'hidden' : 'shown').toBe(byName);
    return byName;
  };

  it.each<[string, Record<string, string>, Entry, string]>([
    [
      'an empty marked file in a marked directory',
      XMARK,
      file('d/n', '', { xattrs: XFILE }),
      'hidden',
    ],
    [
      'in the user namespace',
      { 'user.overlay.opaque': 'x' },
      file('d/n', '', { xattrs: USER_XFILE }),
      'hidden',
    ],
    ['a file with bytes', XMARK, file('d/n', 'x', { xattrs: XFILE }), 'shown'],
    ['an empty file without the mark', XMARK, file('d/n', ''), 'shown'],
    ['a marked directory', XMARK, dir('d/n', { xattrs: XFILE }), 'shown'],
    ['in a directory without the mark', {}, file('d/n', '', { xattrs: XFILE }), 'shown'],
  ])('%s', async (_, mark, entry, expected) => {
    expect(await inside(mark, entry)).toBe(expected);
  });
});

describe.skipIf(!has({ root: true }))('opaque directories', () => {
  const merged = async (...layers: readonly (readonly Entry[])[]): Promise<string[]> => {
    e = await Engine.open({ lowers: layers });
    const index = dirListingOf(e.ov, e.node('d'));
    if (typeof index === 'number') throw new Error(`no listing: ${index}`);
    return [...index.names()].toSorted();
  };
  const below = [dir('d'), file('d/below', '')];

  it.each<[string, readonly Entry[], string[]]>([
    ['opaque=y', [opaque('d'), file('d/a')], ['a']],
    ['opaque=y in the user namespace', [dir('d', { xattrs: { 'user.overlay.opaque': 'y' } })], []],
    ['opaque=x', [dir('d', { xattrs: XMARK }), file('d/a')], ['a', 'below']],
    [
      'opaque with another value',
      [dir('d', { xattrs: { 'trusted.overlay.opaque': 'n' } })],
      ['below'],
    ],
    ['`.wh..wh..opq`', [dir('d'), whOpaque('d'), file('d/a')], ['a']],
    ['AUFS own files', [dir('d'), file('d/.wh..wh.aufs'), dir('d/.wh..wh.plnk')], ['below']],
    [
      "an escaped mark, which is a client's",
      [dir('d', { xattrs: { 'trusted.overlay.overlay.opaque': 'y' } })],
      ['below'],
    ],
  ])('%s', async (_, layer, expected) => {
    expect(await merged(layer, below)).toEqual(expected);
  });

  it('hide all layers below, and none above', async () => {
    const [top, hiding] = [
      [dir('d'), file('d/top')],
      [opaque('d'), file('d/mid')],
    ];
    expect(await merged(top, hiding, below, below)).toEqual(['mid', 'top']);
  });

  it('as a root hide the layers below it', async () => {
    e = await Engine.open({ lowers: [[whOpaque('')], [file('below')]] });
    expect(e.node('below')).toBe(0);
    const index = dirListingOf(e.ov, 1);
    if (typeof index === 'number') throw new Error(`no listing: ${index}`);
    expect([...index.names()]).toEqual([]);
  });
});

describe.skipIf(!has({ root: true }))('`.wh.` names', () => {
  it('hide up to 251 bytes of a name, and no AUFS file hides anything', async () => {
    expect(dotHidden('.wh.name')).toBe('name');
    expect(dotHidden('.wh.')).toBeUndefined();
    expect(dotHidden('.wh..wh.plnk')).toBeUndefined();
    expect(isDotMark('.wh.')).toBe(true);
    expect(isDotMark('.whx')).toBe(false);
    const [fits, long] = ['n'.repeat(251), 'n'.repeat(252)];
    e = await Engine.open({ lowers: [[whFile(fits)], [file(fits), file(long)]] });
    const root = e.ov.lowerDir(e.ov.lowers.place(e.ov.table.lower(1), 0));
    expect(dotWhiteout(e.sys, root, fits)).toBe(1);
    expect(dotWhiteout(e.sys, root, long)).toBe(0);
    expect([e.node(fits), e.node(long) > 1]).toEqual([0, true]);
  });

  it('are never shown from a lower, nor found by name', async () => {
    e = await Engine.open({ lowers: [[whFile('n'), file('.wh..wh.aufs'), file('other')]] });
    expect([e.node('.wh.n'), e.node('.wh..wh.aufs')]).toEqual([0, 0]);
    const index = dirListingOf(e.ov, 1);
    if (typeof index === 'number') throw new Error(`no listing: ${index}`);
    expect([...index.names()]).toEqual(['other']);
  });

  it('hide lower layers only, not an object of their own layer', async () => {
    e = await Engine.open({ lowers: [[whFile('f'), file('f', 'new')], [file('f', 'older')]] });
    expect(e.lookup(1, 'f').u64(48)).toBe(3n);
  });

  it('beside a directory of their own layer make it opaque', async () => {
    // The image specification: what is below is gone, what this layer has under the name is there.
    const layers = [
      [whFile('d'), dir('d'), file('d/new')],
      [dir('d'), file('d/old')],
    ];
    e = await Engine.open({ lowers: layers });
    expect(e.node('d/new')).toBeGreaterThan(1);
    expect(e.node('d/old')).toBe(0);
  });
});

describe.skipIf(!has({ root: true }))('readEntries', () => {
  it('gives every name with type and number, but not "." and ".."', async () => {
    const names = Array.from({ length: 3000 }, (_, i) => `${'n'.repeat(200)}${i}\xff`);
    e = await Engine.open({ lowers: [[dir('d'), ...names.map((name) => file(`d/${name}`))]] });
    const place = e.ov.table.lower(e.node('d'));
    const fd = e.ov.lowerDir(e.ov.lowers.place(place, 0));
    const got: string[] = [];
    const code = readEntries(e.sys, fd, (name, type, lo) => {
      expect([type, lo > 0]).toEqual([8, true]);
      got.push(name);
    });
    expect(code).toBe(0);
    expect(got.toSorted()).toEqual(names.toSorted());
  });

  it('leaves out only what is gone, where the file system tells no types', async () => {
    e = await Engine.open({ lowers: [[dir('d'), file('d/one'), file('d/two')]] });
    const place = e.ov.table.lower(e.node('d'));
    const fd = e.ov.lowerDir(e.ov.lowers.place(place, 0));
    const { native, u8, u16 } = e.sys;
    const failing = (errno: number): Sys => {
      const changed: Partial<Native> = {
        getdents64(from, at, size) {
          const bytes = native.getdents64(from, at, size);
          for (let entry = at; entry < at + bytes; entry += u16[(entry + 16) >> 1])
            u8[entry + 18] = 0;
          return bytes;
        },
        statx: (from, name, flags, mask, at) =>
          name === 'one' ? errno : native.statx(from, name, flags, mask, at),
      };
      return new Sys({ ...native, ...changed });
    };
    const got: string[] = [];
    const code = readEntries(failing(-E.ENOENT), fd, (name, type) => got.push(`${name} ${type}`));
    expect([code, got]).toEqual([0, ['two 8']]);
    expect(readEntries(failing(-E.EIO), fd, () => undefined)).toBe(-E.EIO);
  });

  it('tells an errno of what is no directory', async () => {
    e = await Engine.open({ lowers: [[file('f')]] });
    e.node('f');
    expect(readEntries(e.sys, 999_999, () => undefined)).toBe(-9);
  });
});
