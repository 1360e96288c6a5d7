/** `import { mount } from 'stratafs'`: a program that uses its own mount. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { has } from '../support/needs.js';
import type * as Library from '../../src/index.js';
import { mountsBelow } from '../support/staleMounts.js';
import { scratch } from '../support/run.js';
import { build, dir, type Entry, file } from '../support/tree.js';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('the library', () => {
  let base: string;
  let library: typeof Library;

  beforeAll(async () => {
    base = scratch('library');
    for (const name of ['low,er', 'up', 'work', 'mnt']) mkdirSync(join(base, name));
    writeFileSync(join(base, 'low,er/hello'), 'hello\n');
    library = (await import(join(import.meta.dirname, '../../dist/index.js'))) as typeof Library;
  });

  afterAll(() => {
    rmSync(base, { recursive: true, force: true });
  });

  it('mounts, serves its own process, tells the diff and unmounts', async () => {
    const mountpoint = join(base, 'mnt');
    const union = await library.mount({
      lower: [join(base, 'low,er')],
      upper: join(base, 'up'),
      work: join(base, 'work'),
      mountpoint,
    });
    try {
      expect(union.mountpoint).toBe(mountpoint);
      // Synchronous calls on the own mount: they would never return if this process served it.
      expect(readFileSync(join(mountpoint, 'hello'), 'utf8')).toBe('hello\n');
      writeFileSync(join(mountpoint, 'new'), 'x');
      expect(await union.diff()).toEqual([{ kind: 'A', path: '/new' }]);
      expect((await union.stats()).copyUps).toBe(0);
    } finally {
      await union.unmount();
    }
    expect(mountsBelow(mountpoint)).toEqual([]);
    await expect(union.stats()).rejects.toThrow('has ended');
    await expect(union.diff()).rejects.toThrow('is not a mount point of stratafs');
  });

  it('shows the data of metadata-only copies from data-only layers, the first that has it', async () => {
    const copy = (name: string): Entry =>
      file(name, '\0'.repeat(6), {
        xattrs: {
          'trusted.overlay.metacopy': '',
          'trusted.overlay.redirect': `/blobs/${name}`,
        },
      });
    const layers = {
      meta: [copy('both'), copy('second')],
      'da,ta:1': [dir('blobs'), file('blobs/both', 'first!')],
      data2: [dir('blobs'), file('blobs/both', 'other!'), file('blobs/second', 'second')],
    };
    for (const [name, entries] of Object.entries(layers)) {
      mkdirSync(join(base, name));
      await build(join(base, name), entries);
    }
    const mountpoint = join(base, 'mnt');
    const union = await library.mount({
      lower: [join(base, 'meta'), join(base, 'low,er')],
      dataOnly: [join(base, 'da,ta:1'), join(base, 'data2')],
      mountpoint,
    });
    try {
      expect(readFileSync(join(mountpoint, 'both'), 'utf8')).toBe('first!');
      expect(readFileSync(join(mountpoint, 'second'), 'utf8')).toBe('second');
      expect(readdirSync(mountpoint).sort()).toEqual(['both', 'hello', 'second']);
    } finally {
      await union.unmount();
    }
  });

  it('rejects with the sentence that says what is wrong', async () => {
    const wrong = { lower: [join(base, 'gone')], mountpoint: join(base, 'mnt') };
    await expect(library.mount(wrong)).rejects.toThrow(/^lower layer \S*gone does not exist/);
  });
});
