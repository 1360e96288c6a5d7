/**
 * SIGKILL at any point: what was answered is there afterwards, what was not is whole or absent, and
 * nothing is left over. STRATAFS_KILLS says how often (`npm run test:long`: 200).
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../differential/random.js';
import { has } from '../support/needs.js';
import { run, scratch } from '../support/run.js';
import { type Mount, TestSnapshotter } from '../support/snapshotter.js';
import { mountsBelow } from '../support/staleMounts.js';

const KILLS = Number(
  process.env['STRATAFS_KILLS'] ?? (process.env['STRATAFS_LONG'] === '1' ? 200 : 8),
);
const SEED = Number(process.env['STRATAFS_SEED'] ?? 1);
const CLIENTS = 3;
const MARK = 'x'.repeat(40_000);

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))(
  'a snapshotter that is killed',
  () => {
    const random = new Random(SEED);
    let base: string;
    let root: string;
    let service: TestSnapshotter;
    let count = 0;
    /** What was answered: names of layers and keys that must exist, and those that must not. */
    const there = new Set<string>();
    const gone = new Set<string>();
    /** Asked for, and not answered: may be there or not. */
    const unknown = new Set<string>();

    const start = async (): Promise<void> => {
      service = await TestSnapshotter.start(root, join(base, 's.sock'));
    };

    beforeAll(async () => {
      base = scratch('kills');
      root = join(base, 'root');
      await start();
    });

    afterAll(async () => {
      await service.end('SIGKILL');
      for (const place of mountsBelow(base)) await run('umount', ['-l', place]);
      rmSync(base, { recursive: true, force: true });
    });

    /** Where a client of these mounts writes. */
    const writable = ([{ type, source, options }]: readonly Mount[]): string =>
      type === 'bind'
        ? source
        : (options.find((one) => one.startsWith('upperdir='))?.slice(9) ?? '');

    /** `names` are what the request makes or takes away. */
    const ask = async (names: readonly string[], act: () => Promise<unknown>): Promise<void> => {
      for (const name of names) {
        there.delete(name);
        gone.delete(name);
        unknown.add(name);
      }
      await act();
      for (const name of names) unknown.delete(name);
    };

    const layers = (): string[] => [...there].filter((name) => name.startsWith('layer'));

    /** One client, until the service is gone; resolves with any other failure. */
    const work = async (): Promise<string> => {
      for (;;) {
        try {
          await step();
        } catch (error) {
          const text = String(error);
          // Another client has taken the parent away.
          if (text.includes('NOT_FOUND')) continue;
          return /UNAVAILABLE|CANCELLED|ENOENT|Channel has been shut down/.test(text) ? '' : text;
        }
      }
    };

    /** A layer over a layer, or a container; and sometimes a removal. */
    const step = async (): Promise<void> => {
      const id = ++count;
      const [key, name] = [`${id % 2 ? 'extract-' : 'run-'}${id}`, `layer${id}`];
      const below = layers();
      const parent =
        below.length > 0 && random.below(3) > 0 ? below[random.below(below.length)] : '';
      let mounts: readonly Mount[] = [];
      await ask([key], async () => (mounts = await service.prepare(key, parent)));
      there.add(key);
      writeFileSync(join(writable(mounts), `mark-${name}`), MARK);
      if (random.below(4) > 0) {
        await ask([key, name], () => service.commit(name, key));
        there.add(name);
        gone.add(key);
      } else {
        await ask([key], () => service.remove(key));
        gone.add(key);
      }
      const victim = layers().at(random.below(layers().length + 1));
      if (victim !== undefined && random.below(3) === 0) {
        // Refused when it is a parent: then it stays.
        await ask([victim], () => service.remove(victim)).then(
          () => gone.add(victim),
          (error: unknown) => {
            if (!String(error).includes('cannot remove')) throw error;
            unknown.delete(victim);
            there.add(victim);
          },
        );
      }
    };

    const check = async (): Promise<void> => {
      const infos = await service.list();
      const names = new Set(infos.map(({ name }) => name));
      expect([...there].filter((name) => !names.has(name))).toEqual([]);
      expect([...gone].filter((name) => names.has(name))).toEqual([]);
      // Whatever the answer would have been, it is known now.
      for (const name of unknown) (names.has(name) ? there : gone).add(name);
      unknown.clear();
      const manifests = readdirSync(join(root, 'state')).map((file) => {
        const text = readFileSync(join(root, 'state', file), 'utf8');
        return JSON.parse(text) as { id: number; name: string; kind: string; parent?: number };
      });
      expect(readdirSync(join(root, 'snapshots')).sort()).toEqual(
        manifests.map(({ id }) => String(id)).sort(),
      );
      expect(readdirSync(join(root, 'trash'))).toEqual([]);
      const ids = new Set(manifests.map(({ id }) => id));
      for (const { id, name, kind, parent } of manifests) {
        if (parent !== undefined) expect(ids.has(parent)).toBe(true);
        const mark = join(root, 'snapshots', String(id), 'fs', `mark-${name}`);
        if (kind === 'committed') expect(readFileSync(mark, 'utf8')).toBe(MARK);
      }
      for (const place of mountsBelow(join(root, 'snapshots')))
        expect(existsSync(place)).toBe(true);
      const active = manifests.filter(({ kind }) => kind !== 'committed');
      expect(mountsBelow(join(root, 'snapshots')).length).toBeLessThanOrEqual(active.length);
      for (const { name } of active) {
        await service.mounts(name);
        // There is no end to them otherwise.
        await service.remove(name);
        there.delete(name);
        gone.add(name);
      }
      await service.cleanup();
    };

    it(
      `has lost nothing, ${KILLS} times`,
      async () => {
        for (let kill = 0; kill < KILLS; kill++) {
          const clients = Array.from({ length: CLIENTS }, work);
          await sleep(20 + random.below(300));
          await service.end('SIGKILL');
          expect(await Promise.all(clients)).toEqual(Array<string>(CLIENTS).fill(''));
          await start();
          await check();
        }
        expect(count).toBeGreaterThan(KILLS);
      },
      KILLS * 20_000,
    );
  },
);
