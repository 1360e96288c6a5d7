/** `import { mount } from 'stratafs'`: a program that uses its own mount. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { has } from '../support/needs.js';
import type * as Library from '../../src/index.js';
import { mountsBelow } from '../support/staleMounts.js';
import { run, scratch } from '../support/run.js';
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
    await expect(union.diff()).rejects.toMatchObject({ code: 'ERR_ENDED' });
    await expect(union.unmount()).rejects.toMatchObject({ code: 'ERR_NOT_MOUNTED' });
  });

  it('mounts for a while, in directories of its own, and tells when it ends', async () => {
    const union = await library.mountTemp({ lower: [Buffer.from(join(base, 'low,er'))] });
    const attached = await library.attach(union.mountpoint);
    const ends: string[] = [];
    attached.on('end', (how) => ends.push(how));
    writeFileSync(join(union.mountpoint, 'new'), 'x');
    expect((await library.mounts()).map(({ mountpoint }) => mountpoint)).toContain(
      union.mountpoint,
    );
    expect(await attached.diff()).toEqual([{ kind: 'A', path: '/new' }]);
    await union[Symbol.asyncDispose]();
    expect(existsSync(join(union.mountpoint, '..'))).toBe(false);
    await expect.poll(() => ends).toEqual(['unmounted']);
    await expect(library.attach(union.mountpoint)).rejects.toMatchObject({
      code: 'ERR_NOT_MOUNTED',
    });
  });

  it('says that a mount is busy, and detaches it', async () => {
    const union = await library.mountTemp({ lower: [join(base, 'low,er')] });
    const file = openSync(join(union.mountpoint, 'hello'), 'r');
    try {
      await expect(union.unmount()).rejects.toMatchObject({
        code: 'ERR_BUSY',
        name: 'StratafsError',
      });
      await union.unmount({ lazy: true });
    } finally {
      closeSync(file);
    }
    expect(mountsBelow(union.mountpoint)).toEqual([]);
  });

  it.skipIf(!has({ mountNamespaces: true }))('tells the death of a host', async () => {
    const from = join(base, 'apart');
    mkdirSync(from);
    const script = `import { mount } from '${join(import.meta.dirname, '../../dist/index.js')}';
      import { readFileSync } from 'node:fs';
      const union = await mount({ lower: ['${join(base, 'low,er')}'], mountpoint: '${from}' });
      const end = new Promise((resolve) => union.on('end', resolve));
      const { mounts } = await import('${join(import.meta.dirname, '../../dist/index.js')}');
      const { pid } = (await mounts()).find(({ mountpoint }) => mountpoint === union.mountpoint);
      process.kill(pid, 'SIGKILL');
      const timer = setTimeout(() => process.exit(3), 20000);
      console.log(await end);
      clearTimeout(timer);
      await union[Symbol.asyncDispose]();`;
    // In a namespace of its own: nobody else's mounts are on that host.
    const args = [
      '-m',
      '--propagation',
      'private',
      process.execPath,
      '--input-type=module',
      '-e',
      script,
    ];
    const ran = await run('unshare', args);
    expect(ran).toMatchObject({ code: 0, stdout: 'died\n' });
  });

  const wrong: readonly (readonly [given: unknown, says: string])[] = [
    [undefined, 'an object'],
    [{ mountpoint: '/m' }, 'lower is to be an array of paths'],
    [{ lower: [], mountpoint: '/m' }, 'at least one path'],
    [{ lower: ['/a', 7], mountpoint: '/m' }, 'lower[1] is to be a path'],
    [{ lower: ['/a'], mountpoint: '/m', uper: '/u' }, 'did you mean upper?'],
    [{ lower: ['/a'], mountpoint: '/m', data: 'fast' }, "data is to be 'cached'"],
    [{ lower: ['/a'], mountpoint: '/m', readOnly: 'yes' }, 'readOnly is to be true or false'],
    [{ lower: ['/a\0b'], mountpoint: '/m' }, 'without a NUL byte'],
    [{ lower: ['/a'] }, 'mountpoint is to be a path'],
  ];
  it.each(wrong)('names what is wrong with %j', async (given, says) => {
    await expect(library.mount(given as Library.MountOptions)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(says) as string,
    });
  });

  it('mounts nothing for a signal that has fired', async () => {
    const mountpoint = join(base, 'mnt');
    const signal = AbortSignal.abort(new Error('changed my mind'));
    const asked = library.mount({ lower: [join(base, 'low,er')], mountpoint, signal });
    await expect(asked).rejects.toThrow('changed my mind');
    const controller = new AbortController();
    const later = library.mount({
      lower: [join(base, 'low,er')],
      ...{ mountpoint, signal: controller.signal },
    });
    controller.abort();
    await expect(later).rejects.toMatchObject({ name: 'AbortError' });
    expect(mountsBelow(mountpoint)).toEqual([]);
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
