/**
 * kill -9 at any moment of a build or a commit: images are whole or absent, the next command ends what was
 * left running or mounted. STRATAFS_LONG=1 (npm run test:long) kills each 200 times.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/state/store.js';
import { has } from '../support/needs.js';
import { expectWhole, killedAtAnyMoment } from './support/crash.js';
import { run } from './support/run.js';
import { makeImages, type TestStore, testStore } from './support/store.js';
import { MOUNTS, unmountBelow } from './support/union.js';

const PROGRAMS = ['buildah', 'busybox', 'setfattr', 'runc', 'conmon'];
const KILLS = process.env['STRATAFS_LONG'] === '1' ? 200 : 3;
const HOUR = 3_600_000;

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('a build or commit that is killed', () => {
  let store: TestStore;
  let runDirectory: string;

  beforeAll(async () => {
    store = await testStore();
    await makeImages(store.dir);
    await store.ok('load', '-q', '-i', `${store.dir}/base.tar`);
    runDirectory = (await openStore({ root: store.root })).run;
    await mkdir(`${store.dir}/context`);
    for (let i = 0; i < 20; i++) await writeFile(`${store.dir}/context/f${i}`, `${i}`.repeat(5000));
    await writeFile(
      `${store.dir}/context/Dockerfile`,
      `FROM localhost/base:1 AS a
RUN echo a > /a
FROM localhost/base:1
COPY . /context
RUN --mount=type=cache,target=/cache echo x >> /cache/x; mkdir /new; mv /data /new/data
COPY --from=a /a /b
`,
    );
  }, 300_000);

  afterAll(async () => {
    await unmountBelow(store.dir);
    await unmountBelow(runDirectory);
    await store.remove();
  });

  /** Nothing is mounted, and no process of a step is left. */
  async function expectNothingRuns(): Promise<void> {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    expect(mounts.filter((line) => line.includes(` ${runDirectory}/builds`))).toEqual([]);
    const { stdout } = await run('runc', ['--root', `${runDirectory}/runtime`, 'list', '-q'], {
      mayFail: true,
    });
    expect(stdout.trim()).toBe('');
    const builds = await Promise.resolve(names(`${runDirectory}/builds`));
    expect(builds).toEqual([]);
  }

  const names = (path: string): string[] => {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  };

  it(
    'build',
    async () => {
      await killedAtAnyMoment(store, {
        args: ['build', '-q', '-t', 'built:1', `${store.dir}/context`],
        kills: KILLS,
        prepare: async () => {
          await store.run(['rmi', '-f', 'built:1']);
          await store.ok('builder', 'prune', '-f');
        },
        after: async () => {
          await store.ok('gc');
          await expectNothingRuns();
          expect(await expectWhole(store.root)).toBeLessThanOrEqual(2);
        },
      });
    },
    HOUR,
  );

  it(
    'commit',
    async () => {
      await store.ok(
        'run',
        '--network',
        'none',
        '--name',
        'box',
        'localhost/base:1',
        'sh',
        '-c',
        'echo n > /n; rm -r /data',
      );
      await killedAtAnyMoment(store, {
        args: ['commit', 'box', 'committed:1'],
        kills: KILLS,
        prepare: () => store.run(['rmi', '-f', 'committed:1']),
        after: async () => {
          await store.ok('gc');
          expect(await expectWhole(store.root)).toBeLessThanOrEqual(3);
        },
      });
      await store.ok('rm', 'box');
    },
    HOUR,
  );
});
