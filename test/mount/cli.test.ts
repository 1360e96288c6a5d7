/** The command line as its users call it: people, mount(8), mount.fuse3, container engines. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram, has, stratafsBinary } from '../support/needs.js';
import { mustRun, type Ran, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('the command line', () => {
  let base: string;
  const at = (name: string): string => join(base, name);
  const stratafs = (...args: string[]): Promise<Ran> => run(stratafsBinary(), args, { cwd: base });

  /** The mount table's fields of the mount on `mnt`. */
  function row(): { flags: string; type: string; source: string } {
    const lines = readFileSync('/proc/self/mountinfo', 'latin1').split('\n');
    const fields = lines.find((line) => line.includes(` ${at('mnt')} `))?.split(' ') ?? [];
    const dash = fields.indexOf('-');
    return { flags: fields[5] ?? '', type: fields[dash + 1] ?? '', source: fields[dash + 2] ?? '' };
  }

  beforeAll(() => {
    base = scratch('cli');
  });

  beforeEach(() => {
    for (const name of ['a', 'b', 'up', 'work', 'mnt']) mkdirSync(at(name));
    writeFileSync(at('a/top'), 'from a\n');
    writeFileSync(at('b/top'), 'from b\n');
    writeFileSync(at('b/below'), 'from b\n');
  });

  afterEach(async () => {
    for (const mount of mountsBelow(base)) await run('umount', ['-l', mount]);
    for (const name of ['a', 'b', 'up', 'work', 'mnt']) {
      rmSync(at(name), { recursive: true, force: true });
    }
  });

  afterAll(() => {
    rmSync(base, { recursive: true, force: true });
  });

  const RW = 'lowerdir=a:b,upperdir=up,workdir=work';

  describe('mounts as', () => {
    const forms: readonly (readonly [title: string, args: string[]])[] = [
      ['-o OPTS MNT', ['-o', RW, 'mnt']],
      ['-oOPTS MNT', [`-o${RW}`, 'mnt']],
      ['SOURCE MNT -o OPTS', ['overlay', 'mnt', '-o', RW]],
      [
        'MNT -o A -o B -o C',
        ['mnt', '-o', 'workdir=work', '-o', 'upperdir=up', '-o', 'lowerdir=a:b'],
      ],
      [
        'mount(8) calls its helpers',
        ['none', 'mnt', '-sv', '-n', '-o', `rw,${RW}`, '-t', 'fuse.stratafs'],
      ],
      ['podman does, with an empty option', ['-o', `${RW},,fsync=0`, 'mnt']],
    ];

    it.each(forms)('%s', async (_, args) => {
      expect(await stratafs(...args)).toEqual({ code: 0, stdout: '', stderr: '' });
      const cat = await mustRun('cat', ['mnt/top', 'mnt/below'], { cwd: base });
      expect(cat.stdout).toBe('from a\nfrom b\n');
      expect(row()).toMatchObject({ type: 'fuse.stratafs', source: 'stratafs' });
    });

    it.skipIf(!has({ mountNamespaces: true }))('mount -t fuse.stratafs', async () => {
      // mount(8) looks for its helper's program on a PATH of its own.
      const script = `mount -t tmpfs none /usr/local/bin && ln -s "$S" /usr/local/bin/stratafs
        mount -t fuse.stratafs stratafs mnt -o ${RW},nodev && cat mnt/top && umount mnt`;
      const ran = await run('unshare', ['-m', '--propagation', 'private', 'sh', '-c', script], {
        cwd: base,
        env: { ...process.env, S: stratafsBinary(), STRATAFS_GRACE: '0' },
      });
      expect(ran).toEqual({ code: 0, stdout: 'from a\n', stderr: '' });
    });

    it("containerd's mount.fuse3 -o ... -t PROGRAM", async () => {
      const options = ['workdir=work', 'upperdir=up', 'lowerdir=a:b'].map((option) =>
        option.replace('=', `=${base}/`).replace(':', `:${base}/`),
      );
      const args = ['overlay', at('mnt'), ...options.flatMap((option) => ['-o', option])];
      const path = `${dirname(stratafsBinary())}:${process.env['PATH'] ?? ''}`;
      await mustRun(findProgram('mount.fuse3') ?? '', [...args, '-t', basename(stratafsBinary())], {
        env: { ...process.env, PATH: path },
      });
      expect((await mustRun('cat', [at('mnt/top')])).stdout).toBe('from a\n');
    });
  });

  it('is read-only without upperdir, and with ro', async () => {
    for (const options of ['lowerdir=a:b', `${RW},ro`]) {
      expect((await stratafs('-o', options, 'mnt')).code).toBe(0);
      expect(row().flags).toMatch(/^ro,/);
      const touch = await run('touch', ['mnt/new'], { cwd: base });
      expect(touch.stderr).toContain('Read-only file system');
      expect((await stratafs('unmount', 'mnt')).code).toBe(0);
    }
  });

  it('passes VFS flags and the source on', async () => {
    await stratafs('-o', `${RW},nodev,nosuid,noexec,noatime,fsname=my\\,root`, 'mnt');
    expect(row()).toMatchObject({ flags: 'rw,nosuid,nodev,noexec,noatime', source: 'my,root' });
  });

  describe('unmount', () => {
    it('says what is wrong', async () => {
      const says = async (args: string[], status = 1): Promise<string> => {
        const { code, stderr } = await stratafs('unmount', ...args);
        expect([code, stderr]).toEqual([status, expect.stringMatching(/^stratafs: [^\n]+\n$/)]);
        return stderr;
      };
      expect(await says(['mnt'])).toContain('is not a mount point');
      expect(await says(['/proc'])).toContain('holds a proc mount, not one of stratafs');
      expect(await says(['gone'])).toContain('No such file or directory');
      expect(await says([], 2)).toContain('takes one mount point');
    });

    it('refuses a busy mount and detaches it with --lazy', async () => {
      await stratafs('-o', RW, 'mnt');
      const user = spawn('sleep', ['60'], { cwd: at('mnt') });
      try {
        expect((await stratafs('unmount', 'mnt')).stderr).toContain('is busy');
        expect(await stratafs('unmount', '--lazy', 'mnt')).toMatchObject({ code: 0, stderr: '' });
        expect(mountsBelow(at('mnt'))).toEqual([]);
      } finally {
        user.kill('SIGKILL');
      }
    });
  });

  describe('diff', () => {
    /** Changes made by a process of its own; the new file's pages are still dirty. */
    const change =
      'echo new > new; echo more >> below; rm top; mkdir dir; printf x > "dir/$(printf "o\\377")"';
    const lines = ['A /dir', 'A /dir/o\xff', 'A /new', 'C /below', 'D /top'];

    it('tells what the upper of a live mount adds, changes and deletes', async () => {
      await stratafs('-o', RW, 'mnt');
      await mustRun('sh', ['-c', change], { cwd: at('mnt') });
      const { code, stdout, stderr } = await stratafs('diff', 'mnt');
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout.trimEnd().split('\n').sort()).toEqual(lines);
      expect(readFileSync(at('up/new'), 'latin1')).toBe('new\n');
      // The upper with the same layers is the same, and by itself is refused.
      const bare = await stratafs('diff', '--upper', 'up', '--lower', 'a:b');
      expect(bare).toMatchObject({ code: 0, stdout });
      for (const path of ['up', '/etc']) {
        const refused = await stratafs('diff', path);
        expect(refused.code).not.toBe(0);
        expect(refused.stderr).toMatch(/is not a mount point of stratafs: .*--upper/);
      }
    });

    it('lists what lies below a directory that was moved, and sizes', async () => {
      await mustRun('sh', ['-c', 'mkdir b/was && echo deep >b/was/deep && mkdir b/was/sub'], {
        cwd: at('.'),
      });
      await stratafs('-o', RW, 'mnt');
      await mustRun('sh', ['-c', 'mv was is && chmod 600 is/deep'], { cwd: at('mnt') });
      const { code, stdout } = await stratafs('diff', '--stat', 'mnt');
      expect([code, stdout.split('\n')]).toEqual([
        0,
        [
          'A - /is',
          'A 5 /is/deep',
          'A - /is/sub',
          'D - /was',
          '3 added, 0 changed, 1 deleted; 5 bytes in files',
          '',
        ],
      ]);
      const bare = await stratafs('diff', '--stat', '--upper', 'up', '--lower', 'a:b');
      expect(bare.stdout).toBe(stdout);
      expect((await stratafs('diff', '-z', 'mnt')).stdout).toBe(
        'A /is\0A /is/deep\0A /is/sub\0D /was\0',
      );
      const tar = await mustRun('sh', ['-c', `${stratafsBinary()} diff --tar mnt | tar -t`], {
        cwd: at('.'),
      });
      expect(tar.stdout).toContain('is/deep\n');
      expect(tar.stdout).toContain('.wh.was\n');
    });

    it('tells which layer gives one path, and what that hides', async () => {
      const below =
        'mkdir -p b/dir/sub && echo b >b/dir/both && echo b >b/dir/sub/deep && echo b >b/gone';
      await mustRun('sh', ['-c', `${below} && mkdir a/dir && echo upper >a/dir/both`], {
        cwd: base,
      });
      await stratafs('-o', RW, 'mnt');
      const change = 'rm gone && mv dir moved && chmod 600 moved/sub/deep && echo x >moved/both';
      await mustRun('sh', ['-c', change], { cwd: at('mnt') });
      const where = async (path: string): Promise<string> =>
        (await mustRun(stratafsBinary(), ['diff', 'mnt', path], { cwd: base })).stdout.replaceAll(
          `${base}/`,
          '',
        );
      expect(await where('gone')).toBe(
        'removed by  upper up/gone: whiteout\nhides       lower b/gone: file, 2 bytes\n',
      );
      expect(await where('/moved/both')).toBe(
        [
          'given by    upper up/moved/both: file, 2 bytes',
          'hides       lower a/dir/both: file, 6 bytes',
          'hides       lower b/dir/both: file, 2 bytes\n',
        ].join('\n'),
      );
      expect(await where('moved/sub/deep')).toBe(
        [
          'given by    upper up/moved/sub/deep: copy of the metadata; the data is below, 2 bytes',
          'data from   lower b/dir/sub/deep: file, 2 bytes\n',
        ].join('\n'),
      );
      expect(await where('moved')).toMatch(
        /^given by +upper up\/moved: directory\nmerged with lower a\/dir: directory\nmerged with lower b\/dir: directory\n$/,
      );
      const { stdout } = await stratafs('diff', '--json', 'mnt', 'gone');
      expect(JSON.parse(stdout)).toMatchObject([
        { kind: 'whiteout', upper: true, hidden: false },
        { kind: 'file', path: '/gone', hidden: true },
      ]);
      const none = await stratafs('diff', 'mnt', 'nowhere');
      expect([none.code, none.stderr]).toEqual([
        1,
        expect.stringMatching(/no layer of .* has nowhere/),
      ]);
    });

    it('says what it cannot know of a bare upper without its layers', async () => {
      const { code, stderr } = await stratafs('diff', '--upper', 'up');
      expect(code).toBe(0);
      expect(stderr).toContain('without --lower it is not known');
    });

    it('prints JSON with the exact bytes of odd names', async () => {
      await stratafs('-o', RW, 'mnt');
      await mustRun('sh', ['-c', change], { cwd: at('mnt') });
      const { stdout } = await stratafs('diff', '--json', 'mnt');
      const changes = JSON.parse(stdout) as { kind: string; path: string; pathBase64?: string }[];
      expect(changes.map(({ kind, path }) => `${kind} ${path}`).sort()).toEqual([
        'A /dir',
        'A /dir/o\\xff',
        ...lines.slice(2),
      ]);
      const odd = changes.find(({ path }) => path.includes('xff'));
      expect(Buffer.from(odd?.pathBase64 ?? '', 'base64').toString('latin1')).toBe('/dir/o\xff');
    });

    it('refuses what is no directory and what lies inside a mount', async () => {
      await stratafs('-o', RW, 'mnt');
      await mustRun('mkdir', [at('mnt/dir')]);
      expect((await stratafs('diff', 'mnt/dir')).stderr).toContain('name the mount point');
      expect((await stratafs('diff', 'a/top')).stderr).toContain('is not a directory');
      expect((await stratafs('diff', 'gone')).stderr).toContain('no such file or directory');
    });
  });

  it('lists mounts and counts requests', async () => {
    await stratafs('-o', RW, 'mnt');
    await mustRun('ls', ['-l', at('mnt')]);
    expect((await stratafs('mounts')).stdout).toContain(
      `${at('mnt')} rw lower=${at('a')}:${at('b')} upper=${at('up')} host=`,
    );
    const { stdout } = await stratafs('stats', 'mnt', '--json');
    const stats = JSON.parse(stdout) as { requests: Record<string, number>; inodes: number };
    expect(stats.requests['LOOKUP'] ?? stats.requests['READDIRPLUS']).toBeGreaterThan(0);
    expect(stats.inodes).toBeGreaterThan(0);
    const text = (await stratafs('stats', 'mnt')).stdout;
    expect(text).toMatch(/^data +cached; [\d.]+ B read, [\d.]+ B written\ncopy-ups +\d+, /);
    expect(text).toMatch(/\nrequest +count +mean +p50 +p99\n/);
    expect(text).toMatch(/\nINIT +1( +[\d.]+ \S+s){3}\n/);
    expect((await stratafs('stats', 'a')).stderr).toContain('is not a mount point of stratafs');
  });

  describe('--foreground', () => {
    let server: ChildProcess | undefined;
    let errors = '';

    async function serve(...flags: string[]): Promise<ChildProcess> {
      errors = '';
      const child = spawn(stratafsBinary(), [...flags, '-o', RW, 'mnt'], { cwd: base });
      server = child;
      child.stderr.setEncoding('latin1').on('data', (text: string) => (errors += text));
      for (let i = 0; i < 200 && mountsBelow(at('mnt')).length === 0; i++) await sleep(25);
      await mustRun('cat', [at('mnt/top')]);
      return child;
    }

    const exit = (child: ChildProcess): Promise<number | null> =>
      new Promise((resolve) => {
        child.on('exit', (code) => {
          resolve(code);
        });
      });

    afterEach(() => {
      server?.kill('SIGKILL');
    });

    it.each(['SIGINT', 'SIGTERM'] as const)('unmounts on %s', async (signal) => {
      const child = await serve('--foreground');
      const code = exit(child);
      expect((await stratafs('mounts')).stdout).toContain(at('mnt'));
      child.kill(signal);
      expect(await code).toBe(0);
      expect(mountsBelow(at('mnt'))).toEqual([]);
    });

    it('ends when the mount ends', async () => {
      const code = exit(await serve('-f'));
      await mustRun('umount', [at('mnt')]);
      expect(await code).toBe(0);
    });

    it('with --debug prints a line per request', async () => {
      const code = exit(await serve('--debug'));
      await mustRun('umount', [at('mnt')]);
      await code;
      expect(errors).toMatch(/INIT[^\n]*\n(.*\n)*.*LOOKUP/);
    });

    it('fails with one sentence and without a mount', async () => {
      const ran = await stratafs('-f', '-o', 'lowerdir=gone', 'mnt');
      expect(ran).toMatchObject({ code: 1, stdout: '' });
      expect(ran.stderr).toMatch(/^stratafs: lower layer \S*gone does not exist[^\n]*\n$/);
    });
  });

  it('explains itself', async () => {
    const help = await stratafs('--help');
    expect(help.stdout).toContain('stratafs -o OPTIONS MNT');
    expect((await stratafs('help')).stdout).toBe(help.stdout);
    expect((await stratafs('help', 'mount')).stdout).toContain('lowerdir=A[:B...]');
    expect((await stratafs('unmount', '--help')).stdout).toContain('-l, --lazy');
    const version = await stratafs('--version');
    expect(version.stdout).toMatch(/^stratafs \d+\.\d+\.\d+\n$/);
  });

  it('exits with 2 and one sentence when it is called wrongly', async () => {
    const wrong: readonly (readonly [args: string[], says: string])[] = [
      [['nonsense'], "'nonsense' is no command"],
      [['unmout', 'mnt'], 'did you mean unmount?'],
      [[], 'nothing to mount'],
      [['diff', 'a', 'b', 'c'], 'diff takes one path'],
      [['diff', '--jsn', 'mnt'], 'did you mean --json?'],
      [['host', 'statsu'], 'did you mean status?'],
      [['-o', 'lowerdir=a', 'a', 'b', 'mnt'], "'mnt' is one more"],
      [['help', 'mout'], 'did you mean mount?'],
    ];
    for (const [args, says] of wrong) {
      const { code, stdout, stderr } = await stratafs(...args);
      expect([args, code, stdout]).toEqual([args, 2, '']);
      expect(stderr.split('\n')[0]).toMatch(/^stratafs: [^\n]+$/);
      expect(stderr).toContain(says);
    }
  });

  it.each(['--help', '--version', 'help mount', 'mounts --json'])(
    '%s says so when its output cannot be written',
    async (args) => {
      const ran = await run('sh', ['-c', `"$0" ${args} >/dev/full`, stratafsBinary()]);
      expect(ran.code).toBe(1);
      expect(ran.stderr).toMatch(/^stratafs: cannot write to the standard output: [^\n]+\n$/);
    },
  );

  it('starts no Node for --help and --version', async () => {
    for (const arg of ['--help', '--version']) {
      const env = { STRATAFS_NODE: '/nonexistent', PATH: '/nonexistent' };
      expect((await run(stratafsBinary(), [arg], { env })).code).toBe(0);
    }
  });

  it('takes no relative path when the current directory is gone', async () => {
    const gone = 'mkdir away && cd away && rmdir ../away && "$0" "$@"';
    const calls = [
      ['-o', 'lowerdir=a', 'mnt'],
      ['diff', 'mnt'],
      ['stats', 'mnt'],
      ['unmount', 'mnt'],
    ];
    for (const args of calls) {
      const ran = await run('sh', ['-c', gone, stratafsBinary(), ...args], { cwd: base });
      expect([args[0], ran.code]).toEqual([args[0], 1]);
      expect(ran.stderr).toMatch(/is relative, and the current directory cannot be read/);
    }
    const whole = ['-o', `lowerdir=${at('a')}`, at('mnt')];
    const ran = await run('sh', ['-c', gone, stratafsBinary(), ...whole], { cwd: base });
    expect(ran).toMatchObject({ code: 0, stderr: '' });
  });

  it('writes names without control characters on a terminal', async () => {
    await stratafs('-o', RW, 'mnt');
    writeFileSync(at('mnt/\x1b[31mred'), '');
    const { stdout } = await mustRun(
      'script',
      ['-qec', `${stratafsBinary()} diff mnt`, '/dev/null'],
      {
        cwd: base,
      },
    );
    expect(stdout).toContain('A /\\x1b[31mred');
    expect(stdout).not.toContain('\x1b');
  });

  it('works through a symlink on PATH', async () => {
    symlinkSync(stratafsBinary(), at('link'));
    try {
      const ran = await run(at('link'), ['-o', RW, 'mnt'], { cwd: base });
      expect(ran).toMatchObject({ code: 0, stderr: '' });
      expect(existsSync(at('mnt'))).toBe(true);
    } finally {
      rmSync(at('link'));
    }
  });
});
