/** The index directory: when it is made, what it is refused for, and what a crash leaves in it. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Engine, type EngineParts } from '../support/engine.js';
import { FULL, NAMES, onDisk, operations, PARTS } from '../support/links.js';
import { has } from '../support/needs.js';

const READY = has({ root: true, kernelOverlay: true, programs: ['getfattr', 'setfattr'] });
let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});
const { write, chmod, unlink, nlink } = operations(() => e);
const { at, entries, mark, inKernel, shown } = onDisk(() => e);

/** Ends this mount, and begins another that knows nothing. */
const remount = (spec: EngineParts['spec'] = FULL): void => {
  e = e.reopen({ ...PARTS, spec });
};

describe.skipIf(!READY)('what a crash leaves', () => {
  const entry = (): string => at(`work/index/${entries()[0] ?? ''}`);

  it('in the index directory under a temporary name is removed', () => {
    writeFileSync(at('work/index/#1f'), '');
    mkdirSync(at('work/index/#2'));
    remount();
    expect(entries()).toEqual([]);
  });

  it('between the index and the first name is harmless', () => {
    const node = e.node('a');
    write(node, 'L');
    unlinkSync(at('upper/a'));
    execFileSync('setfattr', ['-n', 'trusted.overlay.nlink', '-v', 'U+2', entry()]);
    remount();
    expect(NAMES.map((name) => e.text(name))).toEqual(['Lower', 'Lower', 'Lower']);
    expect(nlink(e.node('b'))).toBe(3);
    expect(inKernel().filter((line) => line.endsWith(' Lower'))).toHaveLength(3);
  });

  it('between the count relative to the lower and the one after the link is no other count', () => {
    write(e.node('a'), 'L');
    unlink('b');
    execFileSync('setfattr', ['-n', 'trusted.overlay.nlink', '-v', 'L-1', entry()]);
    remount();
    expect(nlink(e.node('a'))).toBe(2);
    expect(inKernel().filter((line) => / 2 Lower$/.test(line))).toHaveLength(2);
  });

  it('of a file without names is removed, one that still has some is not', () => {
    write(e.node('a'), 'L');
    const kept = readFileSync(entry());
    unlink('a');
    remount();
    expect(readFileSync(entry())).toEqual(kept);
    execFileSync('setfattr', ['-n', 'trusted.overlay.nlink', '-v', 'U-1', entry()]);
    remount();
    expect(entries()).toEqual([]);
  });

  it('of a lower file that is gone is removed', () => {
    write(e.node('a'), 'L');
    unlink('a');
    for (const name of NAMES) rmSync(at(`lower0/${name}`));
    remount();
    expect(entries()).toEqual([]);
  });
});

describe.skipIf(!READY)('the index', () => {
  const auto = { ...FULL, index: 'auto' } as const;
  const parts = (): boolean => e.node('a') !== e.node('b');

  it('is not made, nor the upper marked, before a file with several names is copied up', () => {
    e.close();
    return Engine.open({ ...PARTS, spec: auto }).then((opened) => {
      e = opened;
      write(e.node('alone'), 'A');
      expect([existsSync(at('work/index')), mark('upper', 'origin')]).toEqual([false, undefined]);
      write(e.node('a'), 'L');
      expect(entries()).toHaveLength(1);
      expect(mark('upper', 'origin')).toBeDefined();
      expect(mark('work/index', 'upper')).toBeDefined();
      remount();
      expect(inKernel()).toHaveLength(6);
    });
  });

  it('marks as kernel overlayfs does', () => {
    write(e.node('a'), 'L');
    const mine = [mark('upper', 'origin'), mark('work/index', 'upper'), entries()];
    e.close();
    return Engine.open(PARTS).then((opened) => {
      e = opened;
      rmSync(at('work/index'), { recursive: true });
      execFileSync('setfattr', ['-x', 'trusted.overlay.origin', at('upper')]);
      inKernel('echo -n L > a');
      const [entry = ''] = entries();
      expect(entries()).toHaveLength(1);
      expect(entry).toHaveLength((mine[2] as string[])[0]?.length ?? 0);
      const [origin, upper] = [mark('upper', 'origin'), mark('work/index', 'upper')];
      remount();
      expect([mark('upper', 'origin'), mark('work/index', 'upper')]).toEqual([origin, upper]);
      expect(e.text('b')).toBe('L');
      expect(origin?.length).toBe(mine[0]?.length);
    });
  });

  it.each([
    [
      'an upper that was used above another lower',
      () => {
        renameSync(at('lower0'), at('was'));
        cpSync(at('was'), at('lower0'), { recursive: true });
        rmSync(at('lower0/b'));
        linkSync(at('lower0/a'), at('lower0/b'));
      },
      /upperdir \S+ was used above another lower layer than \S+lower0; use that one, or index=off/,
    ],
    [
      'a copied upper',
      () => {
        renameSync(at('upper'), at('was'));
        execFileSync('cp', ['-a', at('was'), at('upper')]);
      },
      /the index in workdir \S+ belongs to another upperdir; remove index there, or use index=off/,
    ],
    [
      'an index with a foreign entry',
      () => {
        writeFileSync(at('work/index/00fb1d'), '');
      },
      /cannot use the index in workdir \S+: .*; remove index there, or use index=off/,
    ],
  ])('is refused for %s, and by default done without', (_, spoil, sentence) => {
    write(e.node('a'), 'L');
    e = e.reopen({ ...PARTS, spec: auto });
    spoil();
    expect(() => new Engine(e.top, PARTS)).toThrow(sentence);
    e = e.reopen({ ...PARTS, spec: auto });
    expect(parts()).toBe(true);
    expect(e.text('a')).toBe('Lower');
    write(e.node('b'), 'M');
    expect(e.text('a')).toBe('Lower');
  });

  it.each([true, false])('is heeded by a read-only mount, metacopy %s', (metacopy) => {
    remount({ ...FULL, metacopy });
    if (metacopy) chmod(e.node('a'), 0o100600);
    else write(e.node('a'), 'L');
    unlink('a');
    write(e.node('alone'), 'A');
    const paths = ['b', 'd/c', 'alone', 'x'];
    const [mine, before] = [shown(...paths), entries()];
    for (const index of ['on', 'auto'] as const) {
      remount({ ...FULL, index, readOnly: true });
      const readOnly = shown(...paths.toReversed());
      expect(readOnly.filter((line) => !line.includes('alone'))).toEqual(
        mine.filter((line) => !line.includes('alone')),
      );
      expect(e.lookup(1, 'b').u32(40 + 60)).toBe(metacopy ? 0o100600 : 0o100644);
      expect([e.node('b') === e.node('d/c'), entries()]).toEqual([true, before]);
    }
  });

  it('that is switched off leaves what it has', () => {
    write(e.node('a'), 'L');
    remount({ ...FULL, index: 'off' });
    expect(parts()).toBe(true);
    expect([e.text('a'), e.text('b')]).toEqual(['Lower', 'lower']);
    remount();
    expect([e.text('a'), e.text('b')]).toEqual(['Lower', 'Lower']);
  });
});
