/** Copies that come to nothing: the caller is killed, the mount is taken away, the disk is full. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type BulkMount, BulkLayer, changed, MIB, patient } from '../support/bulk.js';
import { HOLDS } from '../support/held.js';
import { has } from '../support/needs.js';
import { mountDevice } from '../support/mount.js';
import { mustRun } from '../support/run.js';

const RDWR = 2;
const SYNC_WRITES = ['writeback=0'];

describe.skipIf(!has({ ...HOLDS, fuse: true, stratafs: true }))('a copy under way', () => {
  let layer: BulkLayer;
  let mount: BulkMount;

  beforeAll(() => {
    layer = new BulkLayer(192);
  });

  afterAll(() => {
    layer.remove();
  });

  afterEach(async () => {
    await mount.letGo();
    await mount.mounted.unmount();
    await mount.ended();
  });

  /** A process that changes the file; resolves when it has ended. */
  function change(): { pid: number; ended: Promise<NodeJS.Signals | null> } {
    const args = ['if=/dev/zero', 'of=big', 'conv=notrunc', 'bs=1', 'count=1', 'seek=8'];
    const child = spawn('dd', args, { cwd: mount.mounted.path, stdio: 'ignore' });
    const ended = new Promise<NodeJS.Signals | null>((resolve) => {
      child.on('exit', (_, signal) => {
        resolve(signal);
      });
    });
    return { pid: child.pid ?? -1, ended };
  }

  it.each(['a whole copy', 'data for a copy of metadata'])(
    'is given up when nobody waits for it any more: %s',
    async (kind) => {
      mount = await layer.mount(SYNC_WRITES);
      const client = await mount.client();
      const whole = kind === 'a whole copy';
      if (!whole) await client.must('chmod', 'big', '0640');
      const mtime = statSync(layer.file).mtimeMs;
      await mount.hold();
      const { pid, ended } = change();
      // A few are taken by xattrs.
      const hasData = (): boolean => statSync(mount.upperFile).blocks > 1000;
      await mount.copying();
      process.kill(pid, 'SIGKILL');
      expect(await ended).toBe('SIGKILL');
      await mount.letGo();
      // Only an uninterrupted copy would be all there; the holes are back, and nothing is left.
      while (whole ? mount.inWork().length > 0 : hasData()) await sleep(5);
      expect(existsSync(mount.upperFile)).toBe(!whole);
      expect(await mount.copyUps()).toBe(whole ? 0 : 1);
      const seen = statSync(join(mount.mounted.path, 'big'));
      expect([seen.size, seen.mtimeMs]).toEqual([layer.size, mtime]);
      // The next writer starts it anew.
      await client.must('open', 0, 'big', RDWR, 0);
      await patient(client, 'write', 0, 5, 'XYZ');
      expect(await changed(layer.file, mount.upperFile)).toHaveLength(3);
    },
  );

  it('goes on when one of two who wait for it is killed', async () => {
    mount = await layer.mount(SYNC_WRITES);
    const client = await mount.client();
    await client.must('open', 0, 'big', RDWR, 0);
    await mount.hold();
    const { pid, ended } = change();
    await mount.copying();
    const truncate = patient(client, 'truncate', 'big', layer.size - 1);
    process.kill(pid, 'SIGKILL');
    await mount.letGo();
    await Promise.all([ended, truncate]);
    expect(await mount.copyUps()).toBe(1);
    expect(statSync(mount.upperFile).size).toBe(layer.size - 1);
  });

  it('is given up when its caller is killed after a signal that ended nobody', async () => {
    mount = await layer.mount(SYNC_WRITES);
    await mount.hold();
    const { pid, ended } = change();
    await mount.copying();
    // dd prints how far it is, and goes on.
    process.kill(pid, 'SIGUSR1');
    await sleep(20);
    process.kill(pid, 'SIGKILL');
    expect(await ended).toBe('SIGKILL');
    await mount.letGo();
    while (mount.inWork().length > 0) await sleep(5);
    expect(existsSync(mount.upperFile)).toBe(false);
  });

  it('is not given up for a signal that ends nobody', async () => {
    mount = await layer.mount(SYNC_WRITES);
    await mount.hold();
    const { pid, ended } = change();
    await mount.copying();
    process.kill(pid, 'SIGCHLD');
    await mount.letGo();
    expect(await ended).toBe(null);
    expect(await changed(layer.file, mount.upperFile)).toHaveLength(1);
  });

  it('is finished after umount -l', async () => {
    mount = await layer.mount(SYNC_WRITES);
    await mount.hold();
    const { ended } = change();
    await mount.copying();
    await mustRun('umount', ['-l', mount.mounted.path]);
    await mount.letGo();
    expect(await ended).toBe(null);
    expect(await changed(layer.file, mount.upperFile)).toHaveLength(1);
  });

  it('ends with a connection that is cut, and the mount can be made again at once', async () => {
    mount = await layer.mount(SYNC_WRITES);
    await mount.hold();
    const { ended } = change();
    await mount.copying();
    mount.mounted.abort();
    await ended;
    await mustRun('umount', ['-l', mount.mounted.path]);
    await mount.letGo();
    while (mountDevice(mount.mounted.path) !== undefined) await sleep(5);
    mount = await layer.mount(SYNC_WRITES, mount.place);
    expect(existsSync(mount.upperFile)).toBe(false);
    expect(await changed(layer.file, join(mount.mounted.path, 'big'))).toEqual([]);
  });

  it('is refused to all who wait for it when the upper is full', async () => {
    const place = join(layer.root, 'small');
    mkdirSync(place);
    await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=128m', 'small', place]);
    try {
      mount = await layer.mount(SYNC_WRITES, place);
      const clients = await Promise.all([1, 2, 3].map(() => mount.client()));
      for (const client of clients) await client.must('open', 0, 'big', RDWR, 0);
      const errors = await Promise.all(
        clients.map((client, i) => client.errno('write', 0, i * MIB, 'x')),
      );
      expect(errors).toEqual(['ENOSPC', 'ENOSPC', 'ENOSPC']);
      expect(mount.inWork()).toEqual([]);
      expect(existsSync(mount.upperFile)).toBe(false);
      await clients[0].must('mkdir', 'room', '0755');
      await mount.mounted.unmount();
    } finally {
      await mustRun('umount', ['-l', place]);
      mkdirSync(join(place, 'work/work'), { recursive: true });
    }
  });
});
