/** What a container has changed: `diff CONTAINER`, `container diff`. */
import { toLatin1 } from '../../base/bytes.js';
import { Unions } from '../../client/unions.js';
import { type Change, diffUpper } from '../../diff/diff.js';
import { changedEtcFiles } from '../../store/containers/bundle.js';
import { type ContainerManifest, findContainer, rootfsOf } from '../../store/containers/records.js';
import { lowersOf } from '../../store/containers/rootfs.js';
import { openStore, type Store } from '../../store/state/store.js';
import { log } from '../../sys/log.js';
import { command } from '../frame/command.js';
import { printBytes, shownPath } from '../frame/output.js';

/** With what the container's running processes have not written yet. */
export async function containerChanges(
  store: Store,
  container: ContainerManifest,
): Promise<Change[]> {
  const rootfs = rootfsOf(store, container);
  const upper = `${rootfs.directory}/upper`;
  await new Unions(log).flush(upper);
  const changes = diffUpper(toLatin1(upper), lowersOf(rootfs).map(toLatin1));
  // These lie outside of the union: they are changes when somebody has changed them.
  const etc = changedEtcFiles(store, container.id);
  if (etc.length === 0) return changes;
  const more = ['/etc', ...etc].map((path): Change => ({ kind: 'C', path }));
  const known = new Set(changes.map(({ path }) => path));
  const all = [...changes, ...more.filter(({ path }) => !known.has(path))];
  return all.sort((a, b) => (a.path < b.path ? -1 : 1));
}

export default command({
  usage: 'container diff CONTAINER',
  about: "Inspect changes to files or directories on a container's filesystem",
  args: [1, 1],
  flags: {},
  async run({ args, globals }) {
    const store = await openStore(globals);
    const changes = await containerChanges(store, findContainer(store, args[0]));
    const lines = changes.map(({ kind, path }) => `${kind} ${shownPath(path)}\n`);
    printBytes(Buffer.from(lines.join(''), 'latin1'));
    return 0;
  },
});
