/** `save`. */
import { UserError } from '../../base/errno.js';
import { openStore, type Store } from '../../store/state/store.js';
import { type SaveFormat, saveDirectory, saveImages } from '../../store/transfer/save.js';
import { toFile, toStandardOutput } from '../frame/archive.js';
import { command } from '../frame/command.js';

const FORMATS = ['docker-archive', 'oci-archive', 'oci-dir'];

async function save(
  store: Store,
  images: readonly string[],
  format: string,
  output: string | undefined,
): Promise<void> {
  if (format === 'oci-dir') {
    if (output === undefined) throw new UserError('--format oci-dir needs --output DIRECTORY');
    return saveDirectory(store, images, output);
  }
  const form: SaveFormat = format === 'oci-archive' ? 'oci' : 'both';
  if (output !== undefined) {
    return toFile(output, (write) => saveImages(store, images, form, write));
  }
  if (process.stdout.isTTY) {
    throw new UserError('cowardly refusing to save to a terminal. Use the -o flag or redirect');
  }
  return saveImages(store, images, form, toStandardOutput);
}

export default command({
  usage: 'save [OPTIONS] IMAGE [IMAGE...]',
  about: 'Save one or more images to a tar archive (streamed to STDOUT by default)',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    format: {
      kind: 'string',
      help: 'docker-archive (default; an OCI layout, too), oci-archive, or oci-dir (a directory)',
    },
    output: { kind: 'path', short: 'o', help: 'Write to a file, instead of STDOUT' },
  },
  async run({ values, args, globals }) {
    const format = values.format ?? 'docker-archive';
    if (!FORMATS.includes(format)) {
      throw new UserError(`unknown format '${format}': ${FORMATS.join(', ')}`);
    }
    await save(await openStore(globals), args, format, values.output);
    return 0;
  },
});
