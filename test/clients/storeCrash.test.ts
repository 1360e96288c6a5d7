/**
 * kill -9 at any moment, and the loss of power: an image is whole or absent, and what is left behind goes.
 * STRATAFS_LONG=1 (npm run test:long) kills each command 200 times.
 */
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/state/store.js';
import { has } from '../support/needs.js';
import { expectWhole, start } from './support/crash.js';
import { bash, run } from './support/run.js';
import {
  makeImages,
  type Registry,
  startRegistry,
  type TestStore,
  testStore,
} from './support/store.js';
import { MOUNTS } from './support/union.js';

const PROGRAMS = ['buildah', 'skopeo', 'docker-registry', 'busybox', 'setfattr', 'mkfs.ext4'];
const LONG = process.env['STRATAFS_LONG'] === '1';
const KILLS = LONG ? 200 : 4;

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('a command that is killed', () => {
  let store: TestStore;
  let registry: Registry;

  beforeAll(async () => {
    store = await testStore();
    await makeImages(store.dir);
    registry = await startRegistry(store.dir);
    const put = ['copy', '-q', '--dest-tls-verify=false', `oci:${store.dir}/app.oci:1`];
    await run('skopeo', [...put, `docker://${registry.host}/app:1`]);
    await bash(`mkdir ${store.dir}/rootfs && tar -C ${store.dir}/rootfs -xf ${store.dir}/base.tar`);
  }, 300_000);

  afterAll(async () => {
    await registry.stop();
    await store.remove();
  });

  /** Kills `args` at moments spread over the time it takes; `prepare` is run before each. */
  async function killed(
    args: readonly string[],
    prepare: () => Promise<unknown>,
  ): Promise<number[]> {
    await prepare();
    const begun = performance.now();
    expect(await start(store.root, args).ended).toBe(0);
    const whole = performance.now() - begun;
    const seen: number[] = [];
    for (let i = 0; i < KILLS; i++) {
      await prepare();
      const { ended, signal } = start(store.root, args);
      await sleep((whole * (i + 0.5)) / KILLS);
      signal('SIGKILL');
      await ended;
      seen.push(await expectWhole(store.root));
    }
    await prepare();
    expect(await start(store.root, args).ended).toBe(0);
    return seen;
  }

  const emptied = async () => {
    const ids = (await store.ok('images', '-q', '--no-trunc')).split('\n').filter(Boolean);
    if (ids.length > 0) await store.ok('rmi', '-f', ...ids);
  };

  const HOUR = 3_600_000;

  it('load', () => killed(['load', '-q', '-i', `${store.dir}/app.tar`], emptied), HOUR);

  it('pull', () => killed(['pull', '-q', `${registry.host}/app:1`], emptied), HOUR);

  it('import', () => killed(['import', `${store.dir}/rootfs`, 'rootfs:1'], emptied), HOUR);

  it(
    'rmi and gc',
    async () => {
      const seen = await killed(['rmi', '-f', 'localhost/app:1'], () =>
        store.ok('load', '-q', '-i', `${store.dir}/app.tar`),
      );
      // All or nothing: the image or none.
      expect(seen.every((count) => count <= 2)).toBe(true);
      await killed(['gc'], async () => {
        await store.ok('load', '-q', '-i', `${store.dir}/app.tar`);
        await bash(
          `head -c 300000 /dev/urandom > ${store.root}/content/blobs/sha256/${'0'.repeat(64)}`,
        );
      });
    },
    HOUR,
  );

  it('two at once, one of them killed, spoil nothing for the other', async () => {
    await emptied();
    const first = start(store.root, ['load', '-q', '-i', `${store.dir}/app.tar`]);
    const second = start(store.root, ['load', '-q', '-i', `${store.dir}/app.tar`]);
    const third = start(store.root, ['gc']);
    await sleep(150);
    first.signal('SIGKILL');
    expect([await second.ended, await third.ended]).toEqual([0, 0]);
    await first.ended;
    expect(await expectWhole(store.root)).toBe(1);
  });
});

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS, loop: true }))('the loss of power', () => {
  let store: TestStore;
  let disk: string;
  let at: string;

  const mount = (image: string, where: string, options: string) =>
    run('mount', ['-o', `loop,${options}`, image, where]);

  beforeAll(async () => {
    store = await testStore();
    await makeImages(store.dir);
    disk = `${store.dir}/disk`;
    at = `${store.dir}/at`;
    await mkdir(at);
  }, 300_000);

  afterAll(async () => {
    for (const path of [at, `${store.dir}/after`]) await run('umount', [path], { mayFail: true });
    await store.remove();
  });

  /** A file system that keeps nothing by itself: what nobody synced is lost for a long time. */
  async function fresh(): Promise<string> {
    await bash(
      `umount ${at} 2>/dev/null || true; rm -f ${disk}; truncate -s 256M ${disk}; mkfs.ext4 -q -F ${disk}`,
    );
    await mount(disk, at, 'data=writeback,noauto_da_alloc,commit=300');
    return `${at}/root`;
  }

  /** The disk as it is at this moment, mounted: its journal is replayed, and unsynced data are not there. */
  async function afterPowerLoss<T>(look: (root: string) => Promise<T>): Promise<T> {
    const copy = `${store.dir}/copy`;
    await copyFile(disk, copy);
    await mkdir(`${store.dir}/after`, { recursive: true });
    await mount(copy, `${store.dir}/after`, 'defaults');
    try {
      return await look(`${store.dir}/after/root`);
    } finally {
      await run('umount', [`${store.dir}/after`]);
      await rm(copy);
    }
  }

  it('when a command has returned, its image is there', async () => {
    const root = await fresh();
    expect(await start(root, ['load', '-q', '-i', `${store.dir}/app.tar`]).ended).toBe(0);
    expect(await afterPowerLoss(expectWhole)).toBe(1);
  });

  it('without syncing it is not: the test can tell', async () => {
    const root = await fresh();
    const args = ['load', '--no-sync', '-q', '-i', `${store.dir}/app.tar`];
    expect(await start(root, args).ended).toBe(0);
    await expect(
      afterPowerLoss(expectWhole).then((count) => expect(count).toBe(1)),
    ).rejects.toThrow();
  });

  it('at any moment of a command the image is whole or absent', async () => {
    for (let i = 0; i < (LONG ? 100 : 4); i++) {
      const root = await fresh();
      await openStore({ root });
      const { ended, signal } = start(root, ['load', '-q', '-i', `${store.dir}/app.tar`]);
      await sleep(100 + (1200 * i) / (LONG ? 100 : 4));
      // Stopped, it writes nothing while the disk is copied.
      signal('SIGSTOP');
      const count = await afterPowerLoss(expectWhole);
      signal('SIGKILL');
      await ended;
      expect(count).toBeLessThanOrEqual(1);
    }
  }, 3_600_000);
});
