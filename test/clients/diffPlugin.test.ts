/**
 * The diff plug-in with containerd's content store. containerd asks plug-ins for diffs from 2.0 on; Debian's 1.6
 * does not, so a client of our socket makes the requests that containerd 2 makes.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DIFF, SNAPSHOTS } from '../../src/driver/grpc/protos.js';
import { has } from '../support/needs.js';
import { GrpcClient, type Info, type Mount } from '../support/snapshotter.js';
import { Containerd } from './support/containerd.js';
import { expectNothingLeft } from './support/leftovers.js';
import { differences, manifest } from './support/manifest.js';
import { busyboxTree, writeImage } from './support/ociImage.js';
import { bash } from './support/run.js';
import { MOUNTS, unmountBelow } from './support/union.js';

const IMAGE = 'docker.io/library/small:1';
const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const PROGRAMS = ['containerd', 'ctr', 'runc', 'busybox', 'strace'];
const CHANGE = `rm /bin/vi; mkdir -p /new/dir; echo new > /new/dir/f; touch -d '1990-01-01 00:00:00' /new/dir/old
mv /bin/uniq /new/uniq; ln -s nowhere /new/link; sync`;

interface Descriptor {
  readonly media_type: string;
  readonly digest: string;
  readonly size: string;
}

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('the diff plug-in', () => {
  let dir: string;
  let engine: Containerd;
  let snapshots: GrpcClient;
  let diffs: GrpcClient;

  beforeAll(async () => {
    dir = await mkdtemp('/var/tmp/stratafs-clients-');
    await busyboxTree(`${dir}/busybox`);
    await writeImage(`${dir}/small.tar`, IMAGE, [{ kind: 'tree', root: `${dir}/busybox` }]);
    engine = await Containerd.start(`${dir}/engine`, { diff: false });
    await engine.with('stratafs')(['images', 'import', `${dir}/small.tar`]);
    snapshots = new GrpcClient(SNAPSHOTS, engine.snapshotterSocket);
    diffs = new GrpcClient(DIFF, engine.snapshotterSocket);
  }, 300_000);

  afterAll(async () => {
    try {
      snapshots.close();
      diffs.close();
      await engine.stop();
      await unmountBelow(dir);
      await expectNothingLeft(dir);
    } finally {
      await unmountBelow(dir);
      await rm(dir, { recursive: true, force: true });
    }
  });

  const infos = async (): Promise<Info[]> => {
    const found: Info[] = [];
    for await (const part of snapshots.stream('List', { filters: [] })) {
      found.push(...(part as { info: Info[] }).info);
    }
    return found;
  };
  const mountsOf = async (method: string, request: object): Promise<Mount[]> =>
    ((await snapshots.ask(method, request)) as { mounts: Mount[] }).mounts;
  const ask = async (method: string, request: object): Promise<Descriptor> => {
    // A lease keeps what is uploaded; the namespace says whose it is.
    const headers = { 'containerd-namespace': engine.namespace, 'containerd-lease': 'kept' };
    const answer = await diffs.ask(method, request, headers);
    return Object.values(answer as Record<string, Descriptor>)[0];
  };
  const blob = async (digest: string, file: string): Promise<void> => {
    await bash(`ctr content get ${digest} > ${file}`, { env: engine.environment });
  };

  it('unpacks a layer into a snapshot, on the disk before the answer with sync_fs', async () => {
    const { stdout } = await engine.ctr(['content', 'ls']);
    const layer = stdout
      .split('\n')
      .find((line) => line.includes('containerd.io/uncompressed'))
      ?.split(/\s+/);
    const digest = layer?.[0] ?? '';
    const size = await bash(`ctr content get ${digest} | wc -c`, { env: engine.environment });
    const diff = { media_type: `${LAYER}+gzip`, digest, size: size.stdout.trim() };
    const pid = (
      await bash(`ss -xlpH src ${engine.snapshotterSocket} | grep -o 'pid=[0-9]*' | cut -d= -f2`)
    ).stdout.trim();
    /** The calls that make data durable while a layer is applied. */
    const syncs = async (key: string, sync: boolean): Promise<number> => {
      const mounts = await mountsOf('Prepare', { key, parent: '', labels: {} });
      const trace = `${dir}/${key}.strace`;
      const strace = spawn('strace', [
        '-f',
        '-e',
        'trace=fsync,syncfs,fdatasync',
        '-o',
        trace,
        '-p',
        pid,
      ]);
      const ended = once(strace, 'exit');
      try {
        await once(strace.stderr, 'data');
        const applied = await ask('Apply', { diff, mounts, payloads: {}, sync_fs: sync });
        expect(applied.media_type).toBe(LAYER);
      } finally {
        strace.kill('SIGINT');
        await ended;
      }
      const [upper] = mounts;
      expect(differences(await manifest(`${dir}/busybox`), await manifest(upper.source))).toEqual(
        [],
      );
      return (await readFile(trace, 'utf8')).split('\n').filter((line) => line.includes('sync'))
        .length;
    };
    expect(await syncs('without', false)).toBe(0);
    expect(await syncs('with', true)).toBeGreaterThan(0);
  });

  it('uploads what a container has changed, and clamps times to source_date_epoch', async () => {
    await engine.ctr(['leases', 'create', '--id', 'kept']);
    await engine.ctr(['run', '--snapshotter', 'stratafs', IMAGE, 'changed', 'sh', '-euc', CHANGE]);
    const container = (await infos()).find(
      ({ kind, name }) => kind === 'ACTIVE' && name.endsWith('/changed'),
    );
    const left = await mountsOf('View', { key: 'parent-view', parent: container?.parent });
    const right = await mountsOf('Mounts', { key: container?.name });
    const request = { left, right, media_type: LAYER, ref: 'diff-1', labels: {} };
    const plain = await ask('Diff', request);
    const epoch = { seconds: '1000000000', nanos: 0 };
    const clamped = await ask('Diff', { ...request, ref: 'diff-2', source_date_epoch: epoch });
    expect(clamped.digest).not.toBe(plain.digest);
    expect(
      (await ask('Diff', { ...request, ref: 'diff-3', source_date_epoch: epoch })).digest,
    ).toBe(clamped.digest);
    for (const [made, name] of [
      [plain, 'plain'],
      [clamped, 'clamped'],
    ] as const) {
      const file = `${dir}/${name}.tar`;
      await blob(made.digest, file);
      const bytes = await readFile(file);
      expect(made).toMatchObject({ media_type: LAYER, size: `${bytes.length}` });
      expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(made.digest);
    }
    // The same as containerd's own differ, which compares all of both trees.
    await bash(
      `ctr snapshots --snapshotter stratafs diff changed | gzip -dcf > ${dir}/walked.tar`,
      { env: engine.environment },
    );
    const names = async (name: string): Promise<string[]> => {
      const { stdout } = await bash(
        `tar -tf ${dir}/${name}.tar | sed 's,/$,,' | grep -v '^\\./*$' | sort`,
      );
      return stdout.split('\n');
    };
    expect(await names('plain')).toEqual(await names('walked'));
    expect(await names('plain')).toContain('bin/.wh.vi');
    const times = async (name: string): Promise<number[]> => {
      const { stdout } = await bash(
        `TZ=UTC tar -tvf ${dir}/${name}.tar --full-time | awk '{print $4, $5}'`,
      );
      return stdout
        .trim()
        .split('\n')
        .map((text) => Date.parse(`${text}Z`) / 1000);
    };
    expect(Math.max(...(await times('plain')))).toBeGreaterThan(1_000_000_000);
    expect(Math.max(...(await times('clamped')))).toBe(1_000_000_000);
    expect(await times('clamped')).toContain(Date.parse('1990-01-01T00:00:00Z') / 1000);
    await engine.ctr(['containers', 'rm', 'changed'], { mayFail: true });
  });

  it('leaves what is not its own to the next differ', async () => {
    const nothing = [{ type: 'bind', source: '/', target: '', options: ['ro', 'rbind'] }];
    await expect(
      ask('Diff', { left: nothing, right: nothing, media_type: LAYER, ref: 'x', labels: {} }),
    ).rejects.toThrow(/UNIMPLEMENTED/);
  });
});
