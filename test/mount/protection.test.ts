/** chattr(1) on files and directories, of a lower and of the upper, against kernel overlayfs. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, type Fixture, makeFixture, MOUNT_NEEDS } from '../support/fixture.js';
import { type Driver, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { mustRun, run } from '../support/run.js';
import { dir, type Entry, file } from '../support/tree.js';

const NEEDS = { ...MOUNT_NEEDS, kernelOverlay: true, programs: ['gcc', 'chattr', 'lsattr'] };
const FEATURES = ['redirect_dir=on,metacopy=on,index=on'];
const NAMES = ['i', 'a', 'sync'];

const tree = (where: string): Entry[] =>
  NAMES.flatMap((name) => [
    file(`${where}-${name}`, 'data'),
    dir(`${where}-${name}-dir`),
    file(`${where}-${name}-dir/in`, 'in'),
  ]);

const FLAGS = new Map([
  ['i', '+i'],
  ['a', '+a'],
  ['sync', '+SA'],
]);
const objects = (where: string): string[] =>
  NAMES.flatMap((name) => [`${where}-${name}`, `${where}-${name}-dir`]);

async function chattr(root: string, where: string, clear = false): Promise<void> {
  for (const name of NAMES) {
    const flag = FLAGS.get(name) ?? '';
    for (const path of [`${where}-${name}`, `${where}-${name}-dir`]) {
      await mustRun('chattr', [clear ? flag.replace('+', '-') : flag, join(root, path)]);
    }
  }
}

async function lsattr(root: string, path: string): Promise<string> {
  const { stdout } = await mustRun('lsattr', ['-d', join(root, path)]);
  return (stdout.split(' ')[0] ?? '').replaceAll('-', '').replaceAll('e', '');
}

/** Every change, one after the other: what each answers. */
const CHANGES: readonly (readonly [string, ...(string | number)[]])[] = [
  ['chmod', '@', 0o600],
  ['chown', '@', 1, 1],
  ['utimens', '@', 1, 1, 1, 1],
  ['setxattr', '@', 'user.x', 'v', 0],
  ['removexattr', '@', 'user.x'],
  ['truncate', '@', 1],
  ['link', '@', 'linked'],
  ['unlink', 'linked'],
  ['rename', '@', 'moved', 0],
  ['rename', 'moved', '@', 0],
  ['mknod', '@-dir/new', 0o100644, 0, 0],
  ['mkdir', '@-dir/sub', 0o755],
  ['rename', '@-dir/new', '@-dir/newer', 0],
  ['unlink', '@-dir/new'],
  ['unlink', '@-dir/newer'],
  ['rmdir', '@-dir/sub'],
  ['chmod', '@-dir/in', 0o600],
  ['link', '@-dir/in', '@-dir/two'],
  ['unlink', '@-dir/in'],
  ['chmod', '@-dir', 0o700],
  ['rename', '@-dir', 'elsewhere', 0],
  ['rename', 'elsewhere', '@-dir', 0],
];

async function attempt(client: Client, target: string): Promise<string[]> {
  const answers: string[] = [];
  for (const [name, ...words] of CHANGES) {
    const shown = words.map((word) =>
      typeof word === 'string' ? word.replace('@', target) : word,
    );
    answers.push(`${name} ${shown.join(' ')}: ${await client.errno(name, ...shown)}`);
  }
  return answers;
}

/** What `driver` answers to everything, on objects of the lower and of the upper; and the flags then. */
async function ask(driver: Driver): Promise<string[]> {
  const fixture = await makeFixture('chattr', { lowers: [tree('low')], upper: tree('up') });
  const { stack, mountpoint } = fixture;
  const lower = stack.lowers[0] ?? '';
  try {
    await chattr(lower, 'low');
    return await withMount(
      driver,
      stack,
      mountpoint,
      async (client) => {
        await chattr(mountpoint, 'up');
        const answers: string[] = [];
        for (const where of ['low', 'up'])
          for (const name of NAMES) answers.push(...(await attempt(client, `${where}-${name}`)));
        for (const path of [...objects('low'), ...objects('up')])
          answers.push(`${path} ${await lsattr(mountpoint, path)}`);
        return answers;
      },
      FEATURES,
    );
  } finally {
    await clear(fixture);
  }
}

async function clear({ top }: Fixture): Promise<void> {
  await run('chattr', ['-R', '-ia', top]);
  rmSync(top, { recursive: true, force: true });
}

describe.skipIf(DRIVER !== 'stratafs' || !has(NEEDS))('chattr', () => {
  test('refuses what it refuses under kernel overlayfs', async () => {
    expect(await ask('stratafs')).toEqual(await ask('kernel'));
  });

  // A file in the writeback cache shows it when the kernel has forgotten it: its ctime is the kernel's own.
  test.each([
    ['', ['low-sync-dir']],
    ['writeback=0', ['low-sync', 'up-sync', 'low-sync-dir']],
    ['data=passthrough', ['low-sync', 'up-sync', 'low-sync-dir']],
  ] as const)('shows in the ctime: %s', async (option, paths) => {
    const fixture = await makeFixture('chattr', { lowers: [tree('low')], upper: tree('up') });
    const { stack, mountpoint } = fixture;
    const ctime = async (path: string): Promise<string> =>
      (await mustRun('stat', ['-c', '%z', join(mountpoint, path)])).stdout;
    const shown = async (): Promise<string[]> => {
      const unchanged: string[] = [];
      for (const path of paths) {
        const before = await ctime(path);
        await mustRun('chattr', ['+A', join(mountpoint, path)]);
        if ((await ctime(path)) === before) unchanged.push(path);
      }
      return unchanged;
    };
    try {
      const options = option === '' ? [] : [option];
      expect(await withMount('stratafs', stack, mountpoint, shown, options)).toEqual([]);
    } finally {
      await clear(fixture);
    }
  });

  test.skipIf(!has({ programs: ['xfs_io'] }))(
    'is told and set by FS_IOC_FS?ETXATTR too',
    async () => {
      const askXattr = async (driver: Driver): Promise<string[]> => {
        const fixture = await makeFixture('chattr', { lowers: [tree('low')], upper: tree('up') });
        const { stack, mountpoint } = fixture;
        const io = async (path: string, command: string): Promise<string> => {
          const args = ['-r', '-c', command, join(mountpoint, path)];
          const { code, stdout } = await run('xfs_io', args);
          return `${path} ${command}: ${code} ${stdout.split(' ')[0]}`;
        };
        try {
          await chattr(stack.lowers[0] ?? '', 'low');
          return await withMount(
            driver,
            stack,
            mountpoint,
            async (client) => {
              const answers: string[] = [];
              for (const path of [...objects('low'), ...objects('up')]) {
                answers.push(await io(path, 'lsattr'));
                answers.push(await io(path, 'chattr +i'), await io(path, 'lsattr'));
                answers.push(await client.errno('chmod', path, 0o600));
                answers.push(await io(path, 'chattr -ia'), await io(path, 'lsattr'));
                answers.push(await client.errno('chmod', path, 0o600));
              }
              return answers;
            },
            FEATURES,
          );
        } finally {
          await clear(fixture);
        }
      };
      const ours = await askXattr('stratafs');
      expect(ours).toContain('EPERM');
      expect(ours).toEqual(await askXattr('kernel'));
    },
  );

  test('survives a copy-up, a remount and the change of drivers, and can be undone', async () => {
    const fixture = await makeFixture('chattr', { lowers: [tree('low')], upper: tree('up') });
    const { stack, mountpoint } = fixture;
    const see = async (): Promise<string[]> =>
      Promise.all(
        [...objects('low'), ...objects('up')].map(
          async (path) => `${path} ${await lsattr(mountpoint, path)}`,
        ),
      );
    const on = <T>(driver: Driver, body: (client: Client) => Promise<T>): Promise<T> =>
      withMount(driver, stack, mountpoint, body, FEATURES);
    try {
      await chattr(stack.lowers[0] ?? '', 'low');
      const first = await on('stratafs', async (client) => {
        await chattr(mountpoint, 'up');
        // The directories are copied up for what is in them, and one file for its own sake.
        for (const name of NAMES) await client.must('chmod', `low-${name}-dir/in`, 0o600);
        await client.must('chmod', 'low-sync', 0o600);
        return see();
      });
      expect(await lsattr(stack.upper ?? '', 'low-i-dir')).toBe('');
      expect(await on('kernel', see)).toEqual(first);
      expect(await on('stratafs', see)).toEqual(first);
      const refusals = async (client: Client): Promise<string[]> =>
        Promise.all(
          ['up-i', 'up-a', 'low-i', 'low-a'].map((path) => client.errno('chmod', path, 0o640)),
        );
      const eperm = ['EPERM', 'EPERM', 'EPERM', 'EPERM'];
      expect(await on('kernel', refusals)).toEqual(eperm);
      expect(await on('stratafs', refusals)).toEqual(eperm);
      await on('stratafs', async (client) => {
        for (const where of ['low', 'up']) await chattr(mountpoint, where, true);
        for (const path of ['up-i', 'up-a', 'low-i', 'low-a'])
          await client.must('chmod', path, 0o640);
        await client.must('mknod', 'low-i-dir/new', 0o100644, 0, 0);
      });
      const { stdout } = await mustRun('getfattr', ['-Rd', '-m-', stack.upper ?? '']);
      expect(stdout).not.toContain('protattr');
    } finally {
      await clear(fixture);
    }
  });

  test('refuses opens in the passthrough plane', async () => {
    const fixture = await makeFixture('chattr', { lowers: [tree('low')], upper: tree('up') });
    const { stack, mountpoint } = fixture;
    const opens = (driver: Driver, options: readonly string[]): Promise<string[]> =>
      withMount(
        driver,
        stack,
        mountpoint,
        async (client) => {
          await chattr(mountpoint, 'up');
          const answers: string[] = [];
          for (const path of ['low-i', 'low-a', 'up-i', 'up-a', 'up-sync'])
            for (const flags of [0, 1, 2, 0o2001, 0o3001])
              answers.push(`${path} ${flags}: ${await client.errno('open', 0, path, flags, 0)}`);
          await chattr(mountpoint, 'up', true);
          return answers;
        },
        options,
      );
    try {
      await chattr(stack.lowers[0] ?? '', 'low');
      const kernel = await opens('kernel', FEATURES);
      expect(kernel).toContain('up-a 1025: ok');
      expect(await opens('stratafs', [...FEATURES, 'data=passthrough'])).toEqual(kernel);
    } finally {
      await clear(fixture);
    }
  });

  test('a write to an immutable file fails, at the latest when it is synced', async () => {
    const fixture = await makeFixture('chattr', { lowers: [[]], upper: tree('up') });
    const { stack, mountpoint } = fixture;
    try {
      await withMount(
        'stratafs',
        stack,
        mountpoint,
        async (client) => {
          await client.must('open', 0, 'up-i', 2, 0);
          await client.must('write', 0, 0, 'D');
          await client.must('fsync', 0);
          await chattr(mountpoint, 'up');
          const wrote = await client.errno('write', 0, 0, 'X');
          const synced = await client.errno('fsync', 0);
          expect([wrote, synced]).toContain('EPERM');
          expect(await client.errno('fallocate', 0, 0, 0, 100)).toBe('EPERM');
          await chattr(mountpoint, 'up', true);
        },
        ['writeback=0'],
      );
      expect((await mustRun('cat', [join(stack.upper ?? '', 'up-i')])).stdout).toBe('Data');
    } finally {
      await clear(fixture);
    }
  });

  describe.each(['writeback=1', 'writeback=0', 'data=passthrough'])(
    'an append-only file, %s',
    (option) => {
      const within = async (
        body: (client: Client, mountpoint: string) => Promise<void>,
      ): Promise<void> => {
        const fixture = await makeFixture('chattr', {
          lowers: [[file('low', 'lower\n')]],
          upper: [file('up', 'upper\n')],
        });
        const { stack, mountpoint } = fixture;
        try {
          await withMount('stratafs', stack, mountpoint, (client) => body(client, mountpoint), [
            option,
          ]);
        } finally {
          await clear(fixture);
        }
      };
      const sh = (mountpoint: string, command: string): Promise<{ code: number; stdout: string }> =>
        run('sh', ['-c', command], { cwd: mountpoint });

      test.each(['low', 'up', 'new'])('takes what is appended to it: %s', (name) =>
        within(async (client, mountpoint) => {
          // Open before the flag is set, and something written that is not in the file yet.
          await client.must('open', 0, name, 2 | 0o2000 | 0o100, 0o644);
          await client.must('write', 0, 0, 'before\n');
          await mustRun('chattr', ['+a', name], { cwd: mountpoint });
          await client.must('write', 0, 0, 'after\n');
          await client.must('fsync', 0);
          await client.must('close', 0);
          expect((await sh(mountpoint, `echo appended >>${name}`)).code).toBe(0);
          const rest = 'before\nafter\nappended\n';
          const start = name === 'new' ? '' : `${name === 'low' ? 'lower' : 'upper'}\n`;
          expect((await sh(mountpoint, `cat ${name}`)).stdout).toBe(start + rest);
          await client.must('dropcaches');
          expect((await sh(mountpoint, `cat ${name}`)).stdout).toBe(start + rest);
          // "Now" may be set (xfstests generic/079), another time may not.
          await mustRun('touch', [name], { cwd: mountpoint });
          expect(await client.errno('utimens', name, 1, 1, 1, 1)).toBe('EPERM');
          await mustRun('chattr', ['-a', name], { cwd: mountpoint });
        }),
      );

      test('is changed nowhere else, and shows no change that was refused', () =>
        within(async (client, mountpoint) => {
          await mustRun('chattr', ['+a', 'up'], { cwd: mountpoint });
          const opened = await client.errno('open', 0, 'up', 2, 0);
          const wrote = opened === 'ok' ? await client.errno('write', 0, 0, 'X') : opened;
          const synced = wrote === 'ok' ? await client.errno('fsync', 0) : wrote;
          expect([opened, wrote, synced]).toContain('EPERM');
          expect(await client.errno('truncate', 'up', 0)).toBe('EPERM');
          expect((await sh(mountpoint, ': >up')).code).not.toBe(0);
          expect((await sh(mountpoint, 'cat up')).stdout).toBe('upper\n');
          await mustRun('chattr', ['-a', 'up'], { cwd: mountpoint });
        }));
    },
  );
});
