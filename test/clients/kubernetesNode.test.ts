/** What the DaemonSet of packaging/kubernetes does to a node, in a mount namespace that stands for one. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { REPOSITORY } from '../support/root.js';
import { bash } from './support/run.js';
import { MOUNTS } from './support/union.js';

const SCRIPT = `${REPOSITORY}/packaging/kubernetes/install-node.sh`;
/** A systemd that has the unit of the engine, and tells what it is asked. */
const SYSTEMCTL = `#!/bin/sh
echo "$*" >> "$(dirname "$0")/../asked"
[ "$1" != is-active ] || [ "$3" = "$ENGINE" ]
`;

describe.skipIf(!has({ ...MOUNTS, programs: ['unshare', 'containerd'] }))('a node', () => {
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync('/var/tmp/stratafs-clients-');
    for (const name of [
      'opt',
      'containerd',
      'units',
      'rancher',
      'data',
      'bin',
      'from/build/Release',
    ]) {
      mkdirSync(`${dir}/${name}`, { recursive: true });
    }
    writeFileSync(`${dir}/bin/systemctl`, SYSTEMCTL, { mode: 0o755 });
    for (const name of ['stratafs', 'stratafs_native.node']) {
      cpSync(`${REPOSITORY}/build/Release/${name}`, `${dir}/from/build/Release/${name}`);
    }
    cpSync(`${REPOSITORY}/dist`, `${dir}/from/dist`, { recursive: true });
    // A package has these in dist/.
    symlinkSync(`${REPOSITORY}/node_modules`, `${dir}/from/node_modules`);
  });

  /** Mount points that the script's namespace needs. */
  const places = ['/etc/rancher', '/var/lib/rancher'].filter((path) => !existsSync(path));

  afterEach(() => {
    for (const path of places) rmSync(path, { recursive: true, force: true });
    rmSync(dir, { recursive: true, force: true });
  });

  const build = (): string => readFileSync(`${dir}/from/dist/build-id`, 'utf8').trim();
  const asked = (): string[] => {
    const lines = readFileSync(`${dir}/asked`, 'utf8').trim().split('\n');
    rmSync(`${dir}/asked`);
    return lines;
  };

  /** Runs the script as the pod does, with the node's directories where it looks for them. */
  const install = (target: string, engine: string, after = 'true') =>
    bash(
      `exec unshare -m --propagation private bash -euc '
        mkdir -p /var/lib/rancher /etc/rancher
        mount --bind ${dir}/opt /opt; mount --bind ${dir}/containerd /etc/containerd
        mount --bind ${dir}/units /etc/systemd/system; mount --bind ${dir}/rancher /etc/rancher
        mount --bind ${dir}/data /var/lib/rancher; mount -t tmpfs none /run/systemd; mkdir /run/systemd/system
        sh ${SCRIPT}; ${after}'`,
      {
        env: {
          ...{ TARGET: target, ENGINE: engine, FROM: `${dir}/from`, NODE_OPT: '/opt', ONCE: '1' },
          ...{ ON_NODE: '', STRATAFS_NODE: process.execPath },
          PATH: `${dir}/bin:${process.env['PATH'] ?? ''}`,
        },
      },
    );

  it('with containerd gets the units and the lines, and restarts containerd when these change', async () => {
    const first = build();
    const { stdout } = await install('containerd', 'containerd.service', 'containerd config dump');
    expect(stdout).toMatch(/\[proxy_plugins.stratafs\]/);
    expect(stdout).toMatch(/snapshotter = "stratafs"/);
    const program = `/opt/stratafs/${first}/build/Release/stratafs`;
    const unit = (): string => readFileSync(`${dir}/units/stratafs-snapshotter.service`, 'utf8');
    expect(unit()).toContain(`ExecStart=${program} snapshotter\n`);
    expect(asked()).toEqual([
      'daemon-reload',
      'enable stratafs-snapshotter.socket',
      'start stratafs-snapshotter.socket',
      'try-restart stratafs-snapshotter.service',
      'is-active --quiet containerd.service',
      'restart containerd.service',
    ]);
    // The pod is started again, and later with another version.
    await install('containerd', 'containerd.service');
    expect(asked()).not.toContain('restart containerd.service');
    writeFileSync(`${dir}/from/dist/build-id`, 'ffffffffffff\n');
    await install('containerd', 'containerd.service', `test -x ${program}`);
    expect(asked()).not.toContain('restart containerd.service');
    expect(unit()).toContain('ExecStart=/opt/stratafs/ffffffffffff/build/Release/stratafs');
  });

  it('with k3s gets the templates, and restarts the unit that it has', async () => {
    await install('k3s', 'k3s-agent.service');
    const file = `${dir}/data/k3s/agent/etc/containerd/config-v3.toml.tmpl`;
    expect(readFileSync(file, 'utf8')).toContain('[proxy_plugins.stratafs]');
    expect(asked().slice(-3)).toEqual([
      'is-active --quiet k3s.service',
      'is-active --quiet k3s-agent.service',
      'restart k3s-agent.service',
    ]);
  });
});
