/** `push`. */
import { UserError } from '../../base/errno.js';
import { readRepository } from '../../store/images/find.js';
import {
  parseReference,
  type Reference,
  repositoryName,
  withDefaultTag,
} from '../../store/images/reference.js';
import { openStore } from '../../store/state/store.js';
import { pushImage } from '../../store/transfer/push.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';
import { REGISTRY_FLAGS, registryOptions } from './registryFlags.js';

export default command({
  usage: 'push [OPTIONS] NAME[:TAG]',
  about: 'Upload an image to a registry',
  args: [1, 1],
  flags: {
    ...REGISTRY_FLAGS,
    'all-tags': { kind: 'bool', short: 'a', help: 'Push all tags of an image to the repository' },
    quiet: { kind: 'bool', short: 'q', help: 'Suppress verbose output' },
  },
  async run({ values, given, args, globals }) {
    const parsed = parseReference(args[0]);
    if (parsed.digest !== undefined) throw new UserError('cannot push a digest reference');
    if (values['all-tags'] && parsed.tag !== undefined) {
      throw new UserError("tag can't be used with --all-tags/-a");
    }
    const store = await openStore(globals);
    const name = repositoryName(parsed);
    if (!values.quiet) print(`The push refers to repository [${name}]\n`);
    const tags = Object.keys(readRepository(store, name)?.tags ?? {});
    if (values['all-tags'] && tags.length === 0) throw new UserError(`No such image: ${name}`);
    const references: Reference[] = values['all-tags']
      ? tags.map((tag) => ({ ...parsed, tag }))
      : [withDefaultTag(parsed)];
    const options = {
      ...registryOptions(values, given),
      progress: !values.quiet && process.stderr.isTTY,
    };
    return forEach(
      references.map((_, i) => String(i)),
      async (i) => {
        const reference = references[Number(i)];
        const { digest, size } = await pushImage(store, reference, options);
        const tag = reference.tag ?? '';
        print(values.quiet ? `${name}:${tag}\n` : `${tag}: digest: ${digest} size: ${size}\n`);
      },
    );
  },
});
