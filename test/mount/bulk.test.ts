/**
 * What takes long stalls only those who wait for it: copy-up of a large file, fsync, large reads and
 * copies. Time decides nothing here, only the order in which calls end.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type BulkMount, BulkLayer, changed, MIB, patient, watch } from '../support/bulk.js';
import type { Client } from '../support/client.js';
import { HOLDS } from '../support/held.js';
import { has } from '../support/needs.js';
import { run } from '../support/run.js';

const RDONLY = 0;
const RDWR = 2;
const CREATE = 0o102;
const SYNC_WRITES = ['writeback=0'];

describe.skipIf(!has({ ...HOLDS, fuse: true, stratafs: true }))('large data', () => {
  let layer: BulkLayer;
  let mount: BulkMount;
  let [one, two] = [undefined, undefined] as unknown as [Client, Client];

  beforeAll(() => {
    layer = new BulkLayer(256);
  });

  afterAll(() => {
    layer.remove();
  });

  afterEach(async () => {
    await mount.letGo();
    await mount.mounted.unmount();
    await mount.ended();
  });

  async function start(options = SYNC_WRITES): Promise<void> {
    mount = await layer.mount(options);
    [one, two] = [await mount.client(), await mount.client()];
    await one.must('open', 0, 'big', RDWR, 0);
  }

  /** Requests that reach the engine; not many creations, which the upper's journal may make wait. */
  async function others(client: Client): Promise<void> {
    for (let i = 0; i < 10; i++) await client.must('mkdir', `new${i}`, '0755');
    for (let i = 0; i < 100; i++) {
      expect(await client.errno('lstat', `none${i}`)).toBe('ENOENT');
    }
  }

  it.each(['a whole copy', 'data for a copy of metadata'])(
    'lets others pass while a file is copied up: %s',
    async (kind) => {
      await start();
      const mtime = statSync(layer.file).mtimeMs;
      if (kind !== 'a whole copy') await one.must('chmod', 'big', '0640');
      await mount.hold();
      const write = patient(one, 'write', 0, 5, 'XYZ');
      const state = watch(write);
      await mount.copying();
      await others(two);
      // Reading goes on, and shows what is there.
      await two.must('open', 0, 'big', RDONLY, 0);
      expect(await two.must('read', 0, MIB + 4, 5)).toEqual(['5', 'r dat']);
      const seen = statSync(join(mount.mounted.path, 'big'));
      expect([seen.size, seen.mtimeMs, state.settled]).toEqual([layer.size, mtime, false]);
      await mount.letGo();
      expect(await write).toEqual(['3']);
      expect(await two.must('read', 0, 4, 5)).toEqual(['5', 'rXYZt']);
      await one.must('close', 0);
      expect(await changed(layer.file, mount.upperFile)).toHaveLength(3);
      expect(await mount.copyUps()).toBe(1);
    },
  );

  it('lets others pass while a file is synced', async () => {
    await start();
    await one.must('open', 1, 'fresh', CREATE, 0o644);
    await one.must('fill', 1, 0, MIB, 1);
    await mount.hold();
    const sync = patient(one, 'fsync', 1);
    const state = watch(sync);
    await mount.copying();
    await others(two);
    expect(state.settled).toBe(false);
    await mount.letGo();
    await sync;
  });

  it('copies once for several writers, and all of them get through', async () => {
    await start(['writeback=1']);
    await two.must('open', 0, 'big', RDWR, 0);
    await mount.hold();
    const writes = [one, two].map(async (client, i) => {
      for (let n = 0; n < 20; n++) await client.must('write', 0, (n * 10 + i) * MIB, `${i}`);
      await patient(client, 'fsync', 0);
    });
    await mount.copying();
    await mount.letGo();
    await Promise.all(writes);
    expect(await changed(layer.file, mount.upperFile)).toHaveLength(40);
    expect(await mount.copyUps()).toBe(1);
  });

  it('shortens it in turn', async () => {
    await start();
    await mount.hold();
    const write = patient(one, 'write', 0, 5, 'XYZ');
    await mount.copying();
    const truncate = patient(two, 'truncate', 'big', 100);
    await mount.letGo();
    await Promise.all([write, truncate]);
    const expected = layer.head(100);
    const content = readFileSync(mount.upperFile, 'latin1');
    expect(content).toBe(`${expected.slice(0, 5)}XYZ${expected.slice(8)}`);
  });

  it('copies no more than what a truncation leaves', async () => {
    await start();
    await patient(two, 'truncate', 'big', 150 * MIB);
    expect(statSync(mount.upperFile).size).toBe(150 * MIB);
    await one.must('chmod', 'big', '0600');
    const blocks = statSync(mount.upperFile).blocks * 512;
    expect(blocks).toBeLessThan(200 * MIB);
    expect((await changed(layer.file, mount.upperFile)).length).toBe(0);
  });

  it('is removed at once, and what was written goes with it', async () => {
    // write(2) and fsync(2) hold the inode's lock, which unlink(2) takes; close(2) does not.
    await start(['writeback=1']);
    await one.must('open', 1, 'big', RDONLY, 0);
    await one.must('write', 0, 5, 'XYZ');
    await mount.hold();
    const close = patient(one, 'close', 0);
    const state = watch(close);
    await mount.copying();
    // The kernel itself waits, with the writeback cache, once it has its answer (fuse_unlink flushes).
    const unlink = patient(two, 'unlink', 'big');
    while (!existsSync(mount.upperFile)) await sleep(1);
    expect(state.settled).toBe(false);
    expect(statSync(mount.upperFile).isCharacterDevice()).toBe(true);
    await mount.letGo();
    await Promise.all([close, unlink]);
    expect(await two.errno('lstat', 'big')).toBe('ENOENT');
    await two.must('dropcaches');
    expect(await one.must('read', 1, 4, 5)).toEqual(['5', 'rXYZt']);
    expect(await one.must('read', 1, layer.size - 4, 8)).toEqual(['4', 'ta l']);
    await one.must('close', 1);
  });

  it('is renamed, linked and changed in mode afterwards', async () => {
    await start();
    const three = await mount.client();
    await mount.hold();
    const write = patient(one, 'write', 0, 5, 'XYZ');
    await mount.copying();
    const chmod = patient(three, 'chmod', 'big', '0604');
    const rename = patient(two, 'rename', 'big', 'moved');
    await mount.letGo();
    await Promise.all([write, chmod, rename]);
    const moved = join(mount.place, 'upper/moved');
    expect(statSync(moved).mode & 0o777).toBe(0o604);
    expect(await changed(layer.file, moved)).toHaveLength(3);
  });

  it('is read and copied right by the pool, cold', async () => {
    await start(['writeback=1']);
    await two.must('dropcaches');
    const { path } = mount.mounted;
    const copy = await run('cp', ['big', 'copy'], { cwd: path, timeoutMs: 60_000 });
    expect(copy).toMatchObject({ code: 0 });
    await two.must('dropcaches');
    expect(await changed(layer.file, join(path, 'copy'))).toEqual([]);
    expect(await changed(layer.file, join(path, 'big'))).toEqual([]);
    expect(await mount.copyUps()).toBe(0);
  });
});
