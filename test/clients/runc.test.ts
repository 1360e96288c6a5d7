import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { debianLayers } from './support/rootfs.js';
import { run } from './support/run.js';
import { MOUNTS, withScratch, withUnion } from './support/union.js';

const CAPABILITIES = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_SETUID', 'CAP_SETGID'];

/** A container with `rootfs` as its root: own processes, mounts and host name, the host's network. */
function bundle(rootfs: string, script: string): unknown {
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/bin/bash', '-euc', script],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      cwd: '/',
      capabilities: {
        bounding: CAPABILITIES,
        effective: CAPABILITIES,
        permitted: CAPABILITIES,
      },
      noNewPrivileges: true,
    },
    root: { path: rootfs, readonly: false },
    hostname: 'strata',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance'] },
      { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec'] },
    ],
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts'].map((type) => ({ type })),
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
    },
  };
}

const SCRIPT = `
. /etc/os-release; echo "$ID $VERSION_ID on $(hostname)"
python3 -c 'import sys; print(sorted([3, 1, 2]))'
test ! -e /usr/bin/getfacl; cat /usr/share/common-licenses/FRESH
echo made > /root/made; rm /usr/bin/ping; echo more >> /etc/issue.net/inner; chown 1000:1000 /etc/motd
mv /usr/bin/tail-too /usr/bin/tail-three; tail-three -n 1 /etc/issue.net/inner`;

describe.skipIf(!has({ ...MOUNTS, kernelOverlay: true, programs: ['debootstrap', 'runc'] }))(
  'runc with the mount as its root',
  () => {
    it('runs programs of every layer and its changes land in the upper', async () => {
      const lowers = await debianLayers();
      await withUnion('stratafs', lowers, ({ mountpoint, upper }) =>
        withScratch(async (dir) => {
          await mkdir(`${dir}/bundle`);
          await writeFile(`${dir}/bundle/config.json`, JSON.stringify(bundle(mountpoint, SCRIPT)));
          const name = `stratafs-${process.pid}`;
          const { stdout } = await run(
            'runc',
            ['--root', `${dir}/state`, 'run', '--bundle', `${dir}/bundle`, name],
            { env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } },
          );
          expect(stdout.split('\n')).toEqual([
            'debian 12 on strata',
            '[1, 2, 3]',
            'fresh',
            'more',
            '',
          ]);
          expect(await readFile(`${mountpoint}/root/made`, 'utf8')).toBe('made\n');
          expect(await readFile(`${upper}/root/made`, 'utf8')).toBe('made\n');
          expect(await readFile(`${upper}/etc/issue.net/inner`, 'utf8')).toBe('inside\nmore\n');
          const { stdout: kinds } = await run('stat', ['-c', '%F %t:%T', `${upper}/usr/bin/ping`]);
          expect(kinds).toBe('character special file 0:0\n');
        }),
      );
    });
  },
);
