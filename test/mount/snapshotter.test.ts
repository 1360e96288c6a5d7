/** The proxy snapshotter over its socket; containerd itself drives it in test/clients. */
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import { type Mount, TestSnapshotter } from '../support/snapshotter.js';
import { mountsBelow } from '../support/staleMounts.js';

const ref = 'containerd.io/snapshot.ref';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('the snapshotter', () => {
  let base: string;
  let root: string;
  let socket: string;
  let at: string;
  let service: TestSnapshotter;

  const start = async (...flags: string[]): Promise<void> => {
    service = await TestSnapshotter.start(root, socket, flags);
  };

  beforeEach(async () => {
    base = scratch('snap');
    [root, socket, at] = [join(base, 'root'), join(base, 's.sock'), join(base, 'mnt')];
    mkdirSync(at);
    await start();
  });

  afterEach(async () => {
    await service.end('SIGKILL');
    for (const place of mountsBelow(base)) await run('umount', ['-l', place]);
    rmSync(base, { recursive: true, force: true });
  });

  /** Runs `act` in what a client sees who makes these mounts. */
  const mounted = async (mounts: readonly Mount[], act: () => unknown): Promise<void> => {
    for (const { type, source, options } of mounts) {
      // mount(8) makes a read-only bind in two steps, as containerd does.
      const list = options.map((option) => (option === 'rbind' ? 'bind' : option)).join(',');
      await mustRun('mount', ['-t', type === 'bind' ? 'none' : type, '-o', list, source, at]);
    }
    try {
      await act();
    } finally {
      await mustRun('umount', [at]);
    }
  };

  /** A committed layer with these files; an empty text deletes. */
  const layer = async (name: string, parent: string, files: Record<string, string>) => {
    await mounted(await service.prepare(`${name}-key`, parent), () => {
      for (const [file, text] of Object.entries(files)) {
        if (text === '') rmSync(join(at, file), { recursive: true });
        else writeFileSync(join(at, file), text);
      }
    });
    await service.commit(name, `${name}-key`);
  };

  it('shows a snapshot the content of its parents, and keeps its changes', async () => {
    await layer('one', '', { a: '1', b: '1' });
    await layer('two', 'one', { a: '2', b: '' });
    await mounted(await service.view('see', 'two'), () => {
      expect(readdirSync(at)).toEqual(['a']);
      expect(readFileSync(join(at, 'a'), 'utf8')).toBe('2');
      expect(() => writeFileSync(join(at, 'c'), '')).toThrow('EROFS');
    });
    await mounted(await service.prepare('run', 'two'), () => {
      writeFileSync(join(at, 'c'), 'new');
    });
    await mounted(await service.mounts('run'), () => {
      expect(readdirSync(at).sort()).toEqual(['a', 'c']);
    });
    expect(await service.stat('run')).toMatchObject({ kind: 'ACTIVE', parent: 'two' });
    expect((await service.list()).map(({ name }) => name)).toEqual(['one', 'two', 'see', 'run']);
    expect((await service.list('kind==view', 'parent==""')).map(({ name }) => name)).toEqual([
      'one',
      'see',
    ]);
  });

  it('refuses what the interface forbids', async () => {
    await layer('one', '', { a: '1' });
    await layer('two', 'one', { a: '2' });
    await service.prepare('key', 'one');
    await service.view('view', 'one');
    const refused = async (act: Promise<unknown>, code: string, text: string) => {
      await expect(act).rejects.toThrow(new RegExp(`^\\d+ ${code}: .*${text}`));
    };
    await refused(service.prepare('key', 'one'), 'ALREADY_EXISTS', 'exists already');
    await refused(service.view('two', 'one'), 'ALREADY_EXISTS', 'exists already');
    await refused(service.prepare('x', 'nothing'), 'NOT_FOUND', 'does not exist');
    await refused(service.prepare('x', 'key'), 'INVALID_ARGUMENT', 'not committed');
    await refused(service.commit('two', 'key'), 'ALREADY_EXISTS', 'exists already');
    await refused(service.commit('x', 'view'), 'FAILED_PRECONDITION', 'no active snapshot');
    await refused(service.commit('x', 'nothing'), 'NOT_FOUND', 'does not exist');
    await refused(
      service.commit('x', 'key', { parent: 'two' }),
      'INVALID_ARGUMENT',
      'has a parent',
    );
    await refused(service.mounts('one'), 'FAILED_PRECONDITION', 'is committed');
    await refused(service.remove('one'), 'FAILED_PRECONDITION', 'cannot remove');
    await refused(service.stat('nothing'), 'NOT_FOUND', 'does not exist');
    await refused(service.list('=='), 'INVALID_ARGUMENT', "filter '=='");
    const update = (info: object, paths: string[]) =>
      service.client.ask('Update', { info, update_mask: { paths } });
    await refused(update({ name: 'key' }, ['parent']), 'INVALID_ARGUMENT', 'cannot be updated');
    expect(readdirSync(join(root, 'snapshots'))).toHaveLength(4);
  });

  it('updates labels by a field mask', async () => {
    await service.prepare('key', '', { a: '1', b: '2' });
    const update = async (labels: object, ...paths: string[]) => {
      await service.client.ask('Update', { info: { name: 'key', labels }, update_mask: { paths } });
      return (await service.stat('key')).labels;
    };
    expect(await update({ a: '3', c: '4' }, 'labels.a')).toEqual({ a: '3', b: '2' });
    expect(await update({}, 'labels.a')).toEqual({ b: '2' });
    expect(await update({ x: '', y: 'z' }, 'labels')).toEqual({ y: 'z' });
    expect(await update({ q: 'r' })).toEqual({ q: 'r' });
    const { created_at: created, updated_at: updated } = await service.stat('key');
    expect(Number(updated.seconds) * 1e9 + updated.nanos).toBeGreaterThan(
      Number(created.seconds) * 1e9 + created.nanos,
    );
  });

  it('frees the space of what is removed, whatever lies there', async () => {
    await mounted(await service.prepare('key'), async () => {
      await mustRun(
        'sh',
        ['-c', 'mkdir -p d/d; printf x > "$(printf "\\377\\n")"; ln d/l d/m 2>&1 || true'],
        { cwd: at },
      );
      await mustRun(
        'sh',
        [
          '-c',
          'for i in $(seq 60); do n=$(printf %0200d $i); mkdir $n && cd -P $n || exit 1; done',
        ],
        { cwd: at },
      );
    });
    const { inodes } = (await service.client.ask('Usage', { key: 'key' })) as { inodes: string };
    expect(Number(inodes)).toBeGreaterThan(20);
    await service.remove('key');
    await service.cleanup();
    expect(readdirSync(join(root, 'trash'))).toEqual([]);
    expect(readdirSync(join(root, 'snapshots'))).toEqual([]);
  });

  it('counts a layer once, and an active snapshot each time', async () => {
    await layer('one', '', { a: 'x'.repeat(10_000) });
    const usage = async (key: string) => {
      const answer = (await service.client.ask('Usage', { key })) as Record<string, string>;
      return [Number(answer['size']), Number(answer['inodes'])];
    };
    const [size, inodes] = await usage('one');
    expect([size >= 10_000, inodes]).toEqual([true, 2]);
    const manifest = () => readFileSync(join(root, 'state/1.json'), 'utf8');
    expect(JSON.parse(manifest())).toMatchObject({ usage: { size, inodes } });
    await mounted(await service.prepare('run', 'one'), async () => {
      expect((await usage('run'))[1]).toBe(1);
      writeFileSync(join(at, 'b'), '');
      expect((await usage('run'))[1]).toBe(2);
    });
    await service.view('see', 'one');
    expect(await usage('see')).toEqual([0, 0]);
  });

  it('hands a layer that is being unpacked to who knows overlay mounts', async () => {
    const unpack = await service.prepare('ns/1/extract-1-x sha256:a', '', { [ref]: 'sha256:a' });
    expect(unpack[0].type).toBe('overlay');
    const upper = unpack[0].options.find((option) => option.startsWith('upperdir='))?.slice(9);
    writeFileSync(join(upper ?? '', 'base'), '1');
    writeFileSync(join(upper ?? '', 'gone'), '1');
    chownSync(upper ?? '', 12, 34);
    const labels = { labels: { [ref]: 'sha256:a' } };
    await service.commit('ns/2/sha256:a', 'ns/1/extract-1-x sha256:a', labels);
    // A second layer by a real mount of kernel overlayfs: its whiteout is one for us.
    await mounted(await service.prepare('ns/3/extract-2-x sha256:b', 'ns/2/sha256:a'), () => {
      expect(statSync(at)).toMatchObject({ uid: 12, gid: 34 });
      rmSync(join(at, 'gone'));
      writeFileSync(join(at, 'top'), '2');
    });
    await service.commit('ns/4/sha256:b', 'ns/3/extract-2-x sha256:b');
    await mounted(await service.view('see', 'ns/4/sha256:b'), () => {
      expect(readdirSync(at).sort()).toEqual(['base', 'top']);
    });
    // The same layer for another namespace of containerd: it is here already.
    const again = service.prepare('other/5/extract-3-x sha256:a', '', { [ref]: 'sha256:a' });
    await expect(again).rejects.toThrow('ALREADY_EXISTS: layer sha256:a is here already');
  });

  it('gives a snapshot its parent at the commit, where it had none', async () => {
    await layer('one', '', { a: '1', b: '1' });
    const [{ options }] = await service.prepare('ns/1/extract-1-x sha256:b');
    const upper = options.find((option) => option.startsWith('upperdir='))?.slice(9) ?? '';
    await mustRun('mknod', [join(upper, 'a'), 'c', '0', '0']);
    const rebase = { parent: 'one' };
    await service.commit('two', 'ns/1/extract-1-x sha256:b', rebase);
    expect(await service.stat('two')).toMatchObject({ kind: 'COMMITTED', parent: 'one' });
    await expect(service.remove('one')).rejects.toThrow('cannot remove');
    await mounted(await service.view('see', 'two'), () => {
      expect(readdirSync(at)).toEqual(['b']);
    });
  });

  it('shows owners as the mapping labels say, without changing a layer', async () => {
    await layer('one', '', { a: '1' });
    const labels = {
      'containerd.io/snapshot/uidmapping': '0:100000:65536',
      'containerd.io/snapshot/gidmapping': '0:200000:65536',
    };
    for (const parent of ['one', '']) {
      const key = `mapped ${parent}`;
      await mounted(await service.prepare(key, parent, labels), async () => {
        expect(statSync(at)).toMatchObject({ uid: 100_000, gid: 200_000 });
        const root = ['--reuid=100000', '--regid=200000', '--clear-groups'];
        await mustRun('setpriv', [...root, 'touch', 'b'], { cwd: at });
        chownSync(join(at, 'b'), 100_005, 200_006);
        if (parent !== '') expect(statSync(join(at, 'a'))).toMatchObject({ uid: 100_000 });
      });
      await service.commit(`${key} layer`, key);
      await mounted(await service.view(`${key} view`, `${key} layer`), () => {
        expect(statSync(join(at, 'b'))).toMatchObject({ uid: 5, gid: 6 });
      });
    }
  });

  it('keeps mounts through its own death, and makes them again when they have gone', async () => {
    await layer('one', '', { a: '1' });
    const [{ source }] = await service.prepare('run', 'one');
    writeFileSync(join(source, 'b'), '2');
    await service.end('SIGKILL');
    expect(readdirSync(source).sort()).toEqual(['a', 'b']);
    await start();
    expect(readdirSync(source).sort()).toEqual(['a', 'b']);
    expect(await service.mounts('run')).toMatchObject([{ source }]);
    await mustRun('umount', [source]);
    expect(readdirSync(source)).toEqual([]);
    await service.mounts('run');
    expect(readdirSync(source).sort()).toEqual(['a', 'b']);
    await service.remove('run');
    expect(mountsBelow(base)).toEqual([]);
  });

  it('lets nobody change a layer through a mount from before its commit', async () => {
    await layer('one', '', { a: '1' });
    await mounted(await service.prepare('run', 'one'), async () => {
      writeFileSync(join(at, 'b'), '2');
      await service.commit('two', 'run');
      expect(() => writeFileSync(join(at, 'b'), '3')).toThrow('EROFS');
      const [{ source }] = await service.view('see', 'two');
      expect(readFileSync(join(source, 'b'), 'utf8')).toBe('2');
    });
  });

  it('works with clients that mount by themselves', async () => {
    await service.end();
    await start('--mounts', 'fuse3');
    await layer('one', '', { a: '1' });
    const [{ type, options }] = await service.prepare('run', 'one');
    expect(type).toBe('fuse3.stratafs');
    const { stratafsBinary } = await import('../support/needs.js');
    await mustRun(stratafsBinary(), ['overlay', at, '-o', `${options.join(',')},dev,suid`]);
    writeFileSync(join(at, 'b'), '2');
    await mustRun('umount', [at]);
    await service.commit('two', 'run');
    await service.end();
    await start();
    const [{ source }] = await service.view('see', 'two');
    expect(readdirSync(source).sort()).toEqual(['a', 'b']);
  });

  it('is told by nobody to share its directory or its socket', async () => {
    const second = TestSnapshotter.start(root, join(base, 'other.sock'));
    await expect(second).rejects.toThrow('another snapshotter works in');
    const third = TestSnapshotter.start(join(base, 'other'), socket);
    await expect(third).rejects.toThrow('another process listens at');
    writeFileSync(join(base, 'file'), '');
    const fourth = TestSnapshotter.start(join(base, 'other'), join(base, 'file'));
    await expect(fourth).rejects.toThrow('is no socket');
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    await service.end('SIGKILL');
    expect(lstatSync(socket).isSocket()).toBe(true);
    await start();
    expect(await service.list()).toEqual([]);
    expect(await service.end()).toBe(0);
  });

  it('sweeps what a killed one has left, and reports it', async () => {
    await layer('one', '', { a: '1' });
    await service.prepare('run', 'one');
    await service.end('SIGKILL');
    mkdirSync(join(root, 'snapshots/77/fs'), { recursive: true });
    mkdirSync(join(root, 'snapshots/78/merged'), { recursive: true });
    await mustRun('mount', ['-t', 'tmpfs', 'x', join(root, 'snapshots/78/merged')]);
    mkdirSync(join(root, 'snapshots/1/work/work'), { recursive: true });
    mkdirSync(join(root, 'trash/5/x'), { recursive: true });
    writeFileSync(join(root, 'state/.1-x.tmp'), '{');
    writeFileSync(join(root, 'state/80.json'), '{"half":');
    mkdirSync(join(root, 'snapshots/80/fs'), { recursive: true });
    writeFileSync(join(root, 'snapshots/80/fs/kept'), '');
    const { stratafsBinary } = await import('../support/needs.js');
    const check = await run(stratafsBinary(), ['snapshotter', '--root', root, '--check']);
    expect(check.code).toBe(1);
    expect(existsSync(join(root, 'snapshots/77'))).toBe(true);
    await start();
    for (const what of ['snapshots/77', 'snapshots/78', 'trash/5', 'state/.1-x.tmp']) {
      expect(existsSync(join(root, what))).toBe(false);
      expect(service.log).toContain(`removed ${what}, which belongs to no snapshot`);
      expect(check.stderr).toContain(what);
    }
    expect(service.log).toContain('state/80.json is damaged: its data stay in snapshots/80');
    expect(existsSync(join(root, 'snapshots/80/fs/kept'))).toBe(true);
    expect(readdirSync(join(root, 'snapshots/1'))).toEqual(['fs']);
    expect((await service.list()).map(({ name }) => name)).toEqual(['one', 'run']);
    await service.prepare('next');
    expect(existsSync(join(root, 'snapshots/81'))).toBe(true);
  });

  it('takes the socket of a service manager, and tells it that it is ready', async () => {
    await service.end();
    const notified = join(base, 'notify');
    const script = [
      'import os, socket, sys',
      `n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); n.bind("${notified}")`,
      `s = socket.socket(socket.AF_UNIX); s.bind("${join(base, 'given')}"); s.listen(8)`,
      'pid = os.fork()',
      'if pid == 0:',
      ' os.dup2(s.fileno(), 3); os.set_inheritable(3, True)',
      ' os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", NOTIFY_SOCKET=sys.argv[1])',
      ' os.execv(sys.argv[2], sys.argv[2:])',
      'print(n.recv(100).decode()); sys.stdout.flush()',
      `c = socket.socket(socket.AF_UNIX); c.connect("${join(base, 'given')}")`,
      'c.send(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes(3) + b"\\x04" + bytes(5))',
      'print(c.recv(9)[3]); sys.stdout.flush()',
      'os.kill(pid, 15); print(os.waitpid(pid, 0)[1]); print(n.recv(100).decode())',
    ].join('\n');
    const { stratafsBinary } = await import('../support/needs.js');
    const command = [stratafsBinary(), 'snapshotter', '--root', root];
    const said = await mustRun('python3', ['-c', script, notified, ...command]);
    // SETTINGS is the first frame of an HTTP/2 server.
    expect(said.stdout.split('\n')).toEqual(['READY=1', '4', '0', 'STOPPING=1', '']);
    // A socket of its own is not touched.
    expect(existsSync(join(base, 'given'))).toBe(true);
  });
});
