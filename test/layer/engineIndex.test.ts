/** Hard links of lower files with the index: one file under all names, as kernel overlayfs keeps it. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, u32, u64, wire } from '../support/engine.js';
import { FULL, NAMES, operations, PARTS } from '../support/links.js';
import { has } from '../support/needs.js';

const READY = has({ root: true, kernelOverlay: true, programs: ['getfattr', 'setfattr'] });
let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});
const { split, write, chmod, unlink, rename, link, nlink, ino } = operations(() => e);

const at = (path: string): string => join(e.top, path);
const entries = (): string[] =>
  existsSync(at('work/index')) ? readdirSync(at('work/index')).toSorted() : [];
const orphans = (): string[] => readdirSync(at('work/work')).filter((n) => n.startsWith('#o'));
function mark(path: string, name: string): string | undefined {
  const args = ['-h', '--only-values', '-n', `trusted.overlay.${name}`, at(path)];
  try {
    return execFileSync('getfattr', args, {
      encoding: 'latin1',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return undefined;
  }
}
/** Ends this mount, and begins another that knows nothing. */
const remount = (spec: EngineParts['spec'] = FULL): void => {
  e = e.reopen({ ...PARTS, spec });
};

/** Kernel overlayfs with its index on the same layers: lines of name, inode number, links, content. */
function inKernel(change = ':', index = 'on'): string[] {
  const mnt = at('kmnt');
  mkdirSync(mnt, { recursive: true });
  const layers = `lowerdir=${at('lower0')}:${at('lower1')},upperdir=${at('upper')},workdir=${at('work')}`;
  const features = `index=${index},metacopy=on,redirect_dir=on,xino=off`;
  const args = ['-t', 'overlay', 'overlay', '-o', `${layers},${features}`, mnt];
  execFileSync('mount', args, { timeout: 20_000 });
  try {
    const show = `find . -type f | sort | while read f; do echo "$f $(stat -c '%i %h' $f) $(cat $f)"; done`;
    const script = `cd ${mnt} && { ${change}; } && ${show}`;
    return execFileSync('sh', ['-c', script], { encoding: 'latin1', timeout: 20_000 })
      .trim()
      .split('\n');
  } finally {
    execFileSync('umount', [mnt], { timeout: 20_000 });
  }
}
/** The same as this engine shows it. */
function shown(...paths: string[]): string[] {
  return paths.toSorted().map((path) => {
    const node = e.node(path);
    return `./${path} ${ino(node)} ${nlink(node)} ${e.text(path)}`;
  });
}

describe.skipIf(!READY)('a lower file with three names', () => {
  it('is one node with one number and three links, before and after its copy-up', () => {
    const node = e.node('a');
    const number = BigInt(lstatSync(at('lower0/a')).ino);
    expect(NAMES.map((name) => e.node(name))).toEqual([node, node, node]);
    expect([ino(node), nlink(node)]).toEqual([number, 3]);
    write(node, 'L');
    expect([ino(node), nlink(node)]).toEqual([number, 3]);
    expect(NAMES.map((name) => e.node(name))).toEqual([node, node, node]);
    expect(NAMES.map((name) => e.text(name))).toEqual(['Lower', 'Lower', 'Lower']);
    remount();
    expect(shown(...NAMES)).toEqual(NAMES.map((name) => `./${name} ${number} 3 Lower`));
  });

  it('is in the upper under the names that were known, and under others once they are changed', () => {
    write(e.node('a'), 'L');
    expect(existsSync(at('upper/a'))).toBe(true);
    expect(existsSync(at('upper/b'))).toBe(false);
    const node = e.node('b');
    expect(e.text('b')).toBe('Lower');
    expect(existsSync(at('upper/b'))).toBe(false);
    write(node, 'M');
    expect(lstatSync(at('upper/b')).ino).toBe(lstatSync(at('upper/a')).ino);
    expect(NAMES.map((name) => e.text(name))).toEqual(['Mower', 'Mower', 'Mower']);
  });

  it('loses one name and keeps the others', () => {
    const node = e.node('a');
    unlink('a');
    expect([nlink(node), e.node('a'), e.node('b')]).toEqual([2, 0, node]);
    write(node, 'L');
    expect([e.text('b'), e.text('d/c')]).toEqual(['Lower', 'Lower']);
    remount();
    expect([nlink(e.node('b')), e.node('a'), e.text('d/c')]).toEqual([2, 0, 'Lower']);
  });

  it('copies no data when a name is removed', () => {
    unlink('a');
    const [entry = ''] = entries();
    expect(mark(`work/index/${entry}`, 'metacopy')).toBe('');
    expect(e.text('b')).toBe('lower');
  });

  it('is gone with its last name: the index is empty, and who holds it still reads it', () => {
    const node = e.node('a');
    for (const name of NAMES) unlink(name);
    expect([entries(), nlink(node)]).toEqual([[], 0]);
    const read = wire`${u64(0)} ${u64(0)} ${u32(99)} ${u32(0)} ${u64(0)} ${u64(0)}`;
    expect(e.must(Op.READ, node, read).text()).toBe('lower');
    write(node, 'L');
    expect(e.must(Op.READ, node, read).text()).toBe('Lower');
    expect(orphans()).toHaveLength(1);
    e.forget(node, 100);
    expect(orphans()).toEqual([]);
    remount();
    expect(NAMES.map((name) => e.node(name))).toEqual([0, 0, 0]);
  });

  it('renamed onto another of its names stays as it is', () => {
    const node = e.node('a');
    rename('a', 'b');
    expect([e.node('a'), e.node('b'), nlink(node)]).toEqual([node, node, 3]);
    write(node, 'L');
    rename('d/c', 'a');
    expect([e.node('a'), e.node('d/c'), nlink(node)]).toEqual([node, node, 3]);
  });

  it('is renamed, replaced and linked under single names', () => {
    const node = e.node('a');
    rename('b', 'd/new');
    expect([e.node('b'), e.node('d/new'), nlink(node)]).toEqual([0, node, 3]);
    rename('x', 'd/c');
    expect([e.text('d/c'), nlink(node)]).toEqual(['x', 2]);
    link(node, 'd/four');
    expect([e.node('d/four'), nlink(node)]).toEqual([node, 3]);
    const mine = shown('a', 'd/new', 'd/four', 'd/c', 'alone', 'below');
    remount();
    expect(shown('a', 'd/new', 'd/four', 'd/c', 'alone', 'below')).toEqual(mine);
    remount();
    expect(inKernel()).toEqual(mine);
  });

  it('leaves room for a new file at a name it lost', () => {
    const node = e.node('a');
    unlink('b');
    e.must(Op.MKNOD, 1, wire`${u32(0o100644)} ${u32(0)} ${u32(0)} ${u32(0)} ${cstr('b')}`);
    const fresh = e.node('b');
    write(fresh, 'new');
    expect([nlink(fresh), nlink(node), e.text('a')]).toEqual([1, 2, 'lower']);
    remount();
    expect([e.text('a'), e.text('b'), e.text('d/c')]).toEqual(['lower', 'new', 'lower']);
  });

  it('is one with a name in another layer', () => {
    linkSync(at('lower0/a'), at('lower1/deep'));
    remount();
    const node = e.node('deep');
    expect([e.node('a'), nlink(node)]).toEqual([node, 4]);
    write(node, 'L');
    expect(e.text('b')).toBe('Lower');
    remount();
    expect([e.text('a'), e.text('deep'), e.node('a') === e.node('deep')]).toEqual([
      'Lower',
      'Lower',
      true,
    ]);
  });
});

describe.skipIf(!READY)('with metadata-only copies', () => {
  it('shows a new mode under all names, and copies no data', () => {
    chmod(e.node('a'), 0o100600);
    remount();
    for (const name of NAMES) expect(e.lookup(...split(name)).u32(40 + 60), name).toBe(0o100600);
    expect(readFileSync(at('upper/a'))).toEqual(Buffer.alloc(5));
    expect(NAMES.map((name) => e.text(name))).toEqual(['lower', 'lower', 'lower']);
  });

  it('finds its data after a name has moved, and after a rename of the directory', () => {
    chmod(e.node('a'), 0o100600);
    rename('b', 'd/moved');
    rename('d', 'e');
    link(e.node('a'), 'fourth');
    expect(mark('upper/a', 'redirect')).toMatch(/^\/(a|b|d\/c)$/);
    remount();
    const paths = ['a', 'e/c', 'e/moved', 'fourth'];
    expect(paths.map((path) => e.text(path))).toEqual(Array(4).fill('lower'));
    const mine = shown(...paths, 'x', 'alone', 'below');
    remount();
    expect(inKernel()).toEqual(mine);
    write(e.node('e/moved'), 'L');
    expect(paths.map((path) => e.text(path))).toEqual(Array(4).fill('Lower'));
  });
});

describe.skipIf(!READY)('the upper under kernel overlayfs', () => {
  it('shows what this engine wrote, and goes on with it', () => {
    write(e.node('a'), 'L');
    unlink('b');
    const mine = shown('a', 'd/c', 'alone', 'below', 'x');
    remount();
    expect(inKernel()).toEqual(mine);
    const theirs = inKernel('echo -n kernel > d/c; rm a; ln d/c third');
    remount();
    expect(shown('d/c', 'third', 'alone', 'below', 'x')).toEqual(theirs);
    expect(nlink(e.node('third'))).toBe(2);
  });

  it('is read when the kernel wrote it first', () => {
    const theirs = inKernel('echo -n kernel > a; mv b d/moved; chmod 600 alone');
    remount();
    expect(shown('a', 'd/c', 'd/moved', 'alone', 'below', 'x')).toEqual(theirs);
    unlink('a');
    unlink('d/c');
    unlink('d/moved');
    expect(entries()).toEqual([]);
  });

  it('has a changed file under all names that were used, also without the index', () => {
    const node = e.node('a');
    e.node('b');
    write(node, 'L');
    remount();
    const texts = inKernel(':', 'off').map((line) => line.replace(/ \d+ \d+ /, ' '));
    expect(texts).toEqual([
      './a Lower',
      './alone alone',
      './b Lower',
      './below below',
      './d/c lower',
      './x x',
    ]);
  });
});

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
