/** `pull`. */
import { parsePlatform } from '../../store/images/platform.js';
import {
  canonical,
  familiarRepository,
  parseReference,
  withDefaultTag,
} from '../../store/images/reference.js';
import { openStore } from '../../store/state/store.js';
import { pullImage } from '../../store/transfer/pull.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';
import { REGISTRY_FLAGS, registryOptions } from './registryFlags.js';

export default command({
  usage: 'pull [OPTIONS] NAME[:TAG|@DIGEST]',
  about: 'Download an image from a registry',
  args: [1, 1],
  flags: {
    ...REGISTRY_FLAGS,
    platform: { kind: 'string', help: 'Take the image for this platform, such as linux/arm64' },
    quiet: { kind: 'bool', short: 'q', help: 'Suppress verbose output' },
  },
  async run({ values, given, args, globals }) {
    const parsed = parseReference(args[0]);
    const reference = withDefaultTag(parsed);
    const store = await openStore(globals);
    if (!values.quiet) {
      if (parsed !== reference) print('Using default tag: latest\n');
      const what = reference.digest ?? reference.tag ?? '';
      print(`${what}: Pulling from ${reference.path}\n`);
    }
    const { digest, upToDate } = await pullImage(store, reference, {
      ...registryOptions(values, given),
      ...(values.platform === undefined ? {} : { platform: parsePlatform(values.platform) }),
      progress: !values.quiet && process.stderr.isTTY,
    });
    if (!values.quiet) {
      const { tag } = reference;
      const name = familiarRepository(reference) + (tag === undefined ? `@${digest}` : `:${tag}`);
      const status = upToDate ? 'Image is up to date for' : 'Downloaded newer image for';
      print(`Digest: ${digest}\nStatus: ${status} ${name}\n`);
    }
    print(`${canonical(reference)}\n`);
    return 0;
  },
});
