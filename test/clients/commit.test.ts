/** `commit`: what a container changed, and nothing else, as a layer that others read the same. */
import { mkdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { differences, manifest } from './support/manifest.js';
import { bash, run } from './support/run.js';
import { makeImages, type TestStore, testStore } from './support/store.js';
import { MOUNTS, unmountBelow } from './support/union.js';

const PROGRAMS = ['buildah', 'podman', 'busybox', 'runc', 'conmon', 'setfattr', 'setfacl'];
const MINUTE = 60_000;

/** What is mounted on in every container. */
const MOUNTED = /^\/(proc|sys|dev|run|etc\/(hosts|resolv.conf|hostname))$/;

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('commit', () => {
  let store: TestStore;

  beforeAll(async () => {
    store = await testStore();
    await makeImages(store.dir);
    await store.ok('load', '-q', '-i', `${store.dir}/app.tar`);
    await store.ok('load', '-q', '-i', `${store.dir}/base.tar`);
  }, 5 * MINUTE);

  afterAll(async () => {
    const ids = (await store.ok('ps', '-aq')).split('\n').filter(Boolean);
    if (ids.length > 0) await store.run(['rm', '-f', ...ids]);
    await unmountBelow(store.dir);
    await store.remove();
  });

  const shell = (name: string, script: string, image = 'localhost/base:1') =>
    store.ok('run', '--network', 'none', '--name', name, image, 'sh', '-c', script);

  async function withLayers<T>(layers: readonly string[], act: (root: string) => Promise<T>) {
    const at = `${store.dir}/mnt`;
    await mkdir(at, { recursive: true });
    const options = `lowerdir=${layers.join(':')},redirect_dir=follow,metacopy=on`;
    await run('mount', ['-t', 'overlay', 'overlay', '-o', options, at]);
    try {
      return await act(at);
    } finally {
      await run('umount', [at]);
    }
  }

  async function layersOf(image: string): Promise<string[]> {
    const format = '{{.GraphDriver.Data.UpperDir}}{{with .GraphDriver.Data.LowerDir}}:{{.}}{{end}}';
    return (await store.ok('image', 'inspect', '-f', format, image)).split(':');
  }

  const upperOf = async (name: string) => {
    const id = await store.ok('container', 'inspect', '-f', '{{.Id}}', name);
    return `${store.root}/containers/${id}/upper`;
  };

  it(
    'writes the container layer alone: redirects and metadata-only copies whole, xattrs and ACLs kept',
    async () => {
      await shell(
        'box',
        'mv /t /moved; chmod 700 /bin/busybox; rm -r /etc/old; mkdir /etc/old; echo n > /etc/old/n; rm /data/f5; ln /etc/one /hard',
        'localhost/app:1',
      );
      const upper = await upperOf('box');
      await bash(
        `cd ${upper}; setfattr -n user.mine -v 0x00ff etc/old/n; setfacl -m u:5:rw etc/old/n; setfacl -d -m g:7:rx etc/old`,
      );
      await store.ok('commit', '-m', 'words', '-a', 'me', '-c', 'ENV A=b', 'box', 'committed:1');
      const layers = await layersOf('committed:1');
      expect(layers.length).toBe((await layersOf('localhost/app:1')).length + 1);
      const options = { without: MOUNTED };
      const theirs = await withLayers([upper, ...layers.slice(1)], (at) => manifest(at, options));
      const ours = await withLayers(layers, (at) => manifest(at, options));
      expect(differences(ours, theirs)).toEqual([]);
      expect(ours.get('/etc/old/n')).toContain('user.mine');
      expect(ours.get('/etc/old/n')).toContain('posix_acl_access');
      const format = '{{.Author}} {{.Comment}} {{json .Config.Env}} {{json .Config.Cmd}}';
      const told = await store.ok('image', 'inspect', '-f', format, 'committed:1');
      expect(told).toContain('me words ["PATH=/bin","A=b"] ["sh","-c","mv /t');
      expect((await store.ok('history', 'committed:1')).split('\n')[1]).toContain('words');
      expect(await store.ok('images', '-q', 'committed')).not.toBe('');
      expect((await store.run(['layer', 'verify'])).code).toBe(0);
    },
    2 * MINUTE,
  );

  it(
    'podman loads it and finds the same tree',
    async () => {
      await store.ok('save', '-o', `${store.dir}/c.tar`, 'committed:1');
      const podman = ['--root', `${store.dir}/ps`, '--runroot', `${store.dir}/pr`];
      const all = (...args: string[]) =>
        run('podman', [...podman, '--storage-driver', 'vfs', ...args], { timeout: 2 * MINUTE });
      await all('load', '-q', '-i', `${store.dir}/c.tar`);
      const id = (
        await all('create', 'localhost/committed:1', 'true').catch(() =>
          all('create', 'docker.io/library/committed:1', 'true'),
        )
      ).stdout.trim();
      const root = (await all('mount', id)).stdout.trim();
      const options = { without: MOUNTED };
      // podman's driver vfs copies no ACLs, and its root has a mode of its own.
      const tree = async (at: string) =>
        new Map(
          [...(await manifest(at, options))]
            .filter(([path]) => path !== '/' && path !== '/etc')
            .map(([path, line]) => [path, line.replaceAll(/ system\.posix_acl_\S+/g, '')] as const),
        );
      const theirs = await tree(root);
      const found = await withLayers(await layersOf('committed:1'), async (at) =>
        differences(await tree(at), theirs),
      );
      expect(found).toEqual([]);
      await all('rm', '-f', id);
    },
    2 * MINUTE,
  );

  it(
    'of a running container: what it has written is in it, and it runs on; changes cost, not the tree',
    async () => {
      await store.ok(
        ...['run', '-d', '--network', 'none', '--name', 'live', 'localhost/base:1', 'sh', '-c'],
        'i=0; while :; do i=$((i+1)); echo line $i >> /log; echo $i > /last; done',
      );
      await bash('sleep 0.5');
      await store.ok('commit', 'live', 'live:1');
      const [top] = await layersOf('live:1');
      const log = await readFile(`${top}/log`, 'utf8');
      const lines = log.trim().split('\n');
      // Nothing is torn: every line but the last is whole, and there is no hole.
      expect(lines.slice(0, -1)).toEqual(lines.slice(0, -1).map((_, i) => `line ${i + 1}`));
      expect(lines.length).toBeGreaterThan(1);
      const names = (await run('ls', [top])).stdout.trim().split('\n');
      expect(names.sort()).toEqual(['last', 'log']);
      expect(await store.ok('container', 'inspect', '-f', '{{.State.Status}}', 'live')).toBe(
        'running',
      );
      await store.ok('pause', 'live');
      await store.ok('commit', '--pause=false', 'live', 'live:2');
      expect(await store.ok('container', 'inspect', '-f', '{{.State.Status}}', 'live')).toBe(
        'paused',
      );
      await store.ok('rm', '-f', 'live');
      expect(await store.ok('images', '-q', 'live')).not.toBe('');
    },
    2 * MINUTE,
  );

  it('refuses what is wrong, with one sentence, and makes nothing', async () => {
    const before = await store.ok('images', '-aq');
    const cases: [string[], string][] = [
      [['commit', 'none'], 'No such container: none'],
      [['commit', '-c', 'RUN x', 'box'], "'RUN x' is no change"],
      [['commit', 'box', 'Upper:1'], 'Upper'],
    ];
    for (const [args, sentence] of cases) {
      const { code, stderr } = await store.run(args);
      expect([code, stderr]).toEqual([1, expect.stringContaining(sentence) as string]);
    }
    expect(await store.ok('images', '-aq')).toBe(before);
  });
});
