/** Hard links of lower files with the index: one file under all names, as kernel overlayfs keeps it. */
import { existsSync, linkSync, lstatSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, u32, u64, wire } from '../support/engine.js';
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
const { split, write, chmod, unlink, rename, link, nlink, ino } = operations(() => e);
const { at, entries, orphans, mark, inKernel, shown } = onDisk(() => e);

/** Ends this mount, and begins another that knows nothing. */
const remount = (spec: EngineParts['spec'] = FULL): void => {
  e = e.reopen({ ...PARTS, spec });
};

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
