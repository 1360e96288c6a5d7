/** `cp`. */
import { UserError } from '../../base/errno.js';
import { copyFrom, copyTo } from '../../store/containers/copy.js';
import { findContainer } from '../../store/containers/records.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';

/** `CONTAINER:PATH`, or undefined for a path of this machine (`/a:b`, `./a:b`). */
function remote(text: string): { readonly name: string; readonly path: string } | undefined {
  const at = text.indexOf(':');
  if (at < 1 || /^[./]/.test(text)) return undefined;
  return { name: text.slice(0, at), path: text.slice(at + 1) };
}

export default command({
  usage: 'cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH',
  about: 'Copy files/folders between a container and the local filesystem',
  args: [2, 2],
  flags: {
    archive: { kind: 'bool', short: 'a', help: 'Archive mode (copy all uid/gid information)' },
    'follow-link': {
      kind: 'bool',
      short: 'L',
      help: 'Always follow symbol link in SRC_PATH',
    },
    quiet: { kind: 'bool', short: 'q', help: 'Suppress progress output (there is none)' },
  },
  async run({ values, args, globals }) {
    const [from, to] = args.map(remote);
    if (from && to) throw new UserError('copying between containers is not supported');
    const store = await openStore(globals);
    const options = { archive: values.archive, follow: values['follow-link'] };
    if (from) await copyFrom(store, findContainer(store, from.name), from.path, args[1], options);
    else if (to) await copyTo(store, findContainer(store, to.name), args[0], to.path, options);
    else throw new UserError('must specify at least one container source');
    return 0;
  },
});
