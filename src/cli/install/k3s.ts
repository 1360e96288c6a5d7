/** `stratafs install k3s`: k3s makes containerd's configuration of a template, to which ours adds the plug-in. */
import { join } from 'node:path';
import { containerdTables } from '../../driver/setup/containerd.js';
import { SNAPSHOTTER_UNIT } from '../../driver/setup/units.js';
import {
  ENGINE_FLAGS,
  refuseUser,
  refuseWithSnapshots,
  ROOTLESS,
  SNAPSHOTTER,
  SNAPSHOTTER_ROOT,
} from './containerd.js';
import type { PlannedFile } from './files.js';
import { needRoot, unitPlan } from './services.js';
import { target } from './target.js';

const DATA = '/var/lib/rancher/k3s';
const CONTAINERD = '/run/k3s/containerd/containerd.sock';
const SETTINGS = '/etc/rancher/k3s/config.yaml.d';

/** Of containerd 1.7 (config.toml.tmpl) and of 2.x (config-v3.toml.tmpl), which k3s has since 1.31.6. */
function template(data: string, version: 2 | 3): PlannedFile {
  const name = version === 2 ? 'config.toml.tmpl' : 'config-v3.toml.tmpl';
  const tables = containerdTables({
    version,
    socket: SNAPSHOTTER_UNIT.socket,
    root: SNAPSHOTTER_ROOT,
    diff: version === 3,
  });
  return {
    path: join(data, 'agent/etc/containerd', name),
    content: `{{ template "base" . }}\n${tables}`,
  };
}

export const k3s = target({
  name: 'k3s',
  about: 'Be the snapshotter of k3s: a template for its containerd, its settings and the units',
  flags: {
    ...ENGINE_FLAGS,
    'data-dir': { kind: 'string', value: 'DIR', help: `As of k3s (default ${DATA})` },
  },
  plan({ user, 'data-dir': data = DATA }) {
    refuseUser(user, ROOTLESS);
    needRoot('the configuration of k3s');
    const units = unitPlan(SNAPSHOTTER, {
      ...SNAPSHOTTER_UNIT,
      arguments: [...SNAPSHOTTER_UNIT.arguments, '--containerd', CONTAINERD],
      before: 'k3s.service k3s-agent.service',
    });
    return {
      ...units,
      files: [
        ...units.files,
        template(data, 2),
        template(data, 3),
        { path: join(SETTINGS, 'stratafs.yaml'), content: 'snapshotter: stratafs\n' },
      ],
      directories: [SETTINGS, '/etc/rancher/k3s', '/etc/rancher'],
      notes: [...(units.notes ?? []), 'restart k3s, or k3s-agent: it loads its images again'],
    };
  },
  mayGo({ force }) {
    refuseWithSnapshots(force);
  },
});
