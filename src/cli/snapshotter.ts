/** `stratafs snapshotter`: a proxy plug-in of containerd. */
import { UserError } from '../base/errno.js';
import { writeLine } from '../sys/log.js';
import { type Command, command } from './frame/command.js';

const DEFAULT_ROOT = '/var/lib/stratafs-snapshotter';
const DEFAULT_ADDRESS = '/run/stratafs/snapshotter.sock';
const DEFAULT_CONTAINERD = '/run/containerd/containerd.sock';
const STYLES = ['full', 'docker', 'containerd'] as const;

const flags = {
  root: {
    kind: 'string',
    value: 'DIR',
    help: `Where the snapshots lie (default ${DEFAULT_ROOT})`,
  },
  address: {
    kind: 'string',
    short: 'a',
    value: 'SOCKET',
    help: `Where to listen (default ${DEFAULT_ADDRESS}, or what the service manager passes)`,
  },
  mounts: {
    kind: 'string',
    value: 'bind|fuse3',
    help: 'Who mounts: the snapshotter (bind, the default), or the client by mount.fuse3',
  },
  containerd: {
    kind: 'string',
    value: 'SOCKET',
    help: `containerd's socket, for the diff plug-in (default ${DEFAULT_CONTAINERD})`,
  },
  'diff-style': {
    kind: 'string',
    value: 'full|docker|containerd',
    help: 'What a diff keeps: all, with nanoseconds, xattrs and ACLs (default), or what these keep',
  },
  check: { kind: 'bool', help: 'Only tell what is wrong in the directory; change nothing' },
} as const;

export const snapshotter: Command = command({
  usage: 'snapshotter [OPTIONS]',
  about: 'Serve snapshots to containerd, BuildKit and Docker (a proxy plug-in)',
  flags,
  args: [0, 0],
  async run({ values }) {
    const root = values.root ?? DEFAULT_ROOT;
    const presentation = values.mounts ?? 'bind';
    if (presentation !== 'bind' && presentation !== 'fuse3') {
      throw new UserError(`--mounts is bind or fuse3, not '${presentation}'`);
    }
    const named = values['diff-style'] ?? 'full';
    const style = STYLES.find((each) => each === named);
    if (!style) throw new UserError(`--diff-style is one of ${STYLES.join(', ')}, not '${named}'`);
    // gRPC takes a moment to load, and only this command needs it.
    const { checkSnapshotter, runSnapshotter } = await import('../driver/run.js');
    const log = (line: string): void => {
      writeLine(`stratafs snapshotter: ${line}`);
    };
    if (values.check) return checkSnapshotter(root, log);
    const address = values.address ?? DEFAULT_ADDRESS;
    const containerd = values.containerd ?? DEFAULT_CONTAINERD;
    return runSnapshotter({ root, address, containerd, presentation, style }, log);
  },
});
