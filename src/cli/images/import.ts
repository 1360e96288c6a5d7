/** `import`: a root file system, or a file that holds images, becomes one. */
import { existsSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { parsePlatform } from '../../store/images/platform.js';
import { parseReference, type Reference } from '../../store/images/reference.js';
import { openStore } from '../../store/state/store.js';
import { holdsImages } from '../../store/transfer/bundle.js';
import { loadDirectory, loadTar } from '../../store/transfer/load.js';
import { importRootfs } from '../../store/transfer/rootfs.js';
import { bytes, look } from '../../sys/paths.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';
import { inputFile, standardInput } from './input.js';
import { loadedText } from './load.js';

export default command({
  usage: 'import [OPTIONS] FILE|DIRECTORY|- [REPOSITORY[:TAG]]',
  about:
    'Import a root file system (a directory or a tarball), or the images of an OCI layout or archive',
  args: [1, 2],
  flags: {
    change: { kind: 'list', short: 'c', help: 'Apply Dockerfile instruction to the created image' },
    message: { kind: 'string', short: 'm', help: 'Set commit message for imported image' },
    platform: {
      kind: 'string',
      help: 'Set the platform of a root file system, or take the image for it',
    },
  },
  async run({ values, args: [, name], rawArgs: [path], globals }) {
    const platform =
      values.platform === undefined ? {} : { platform: parsePlatform(values.platform) };
    const reference: Reference | undefined = name ? parseReference(name) : undefined;
    if (reference?.digest !== undefined) {
      throw new UserError('cannot import digest reference');
    }
    if (/^https?:\/\//.test(path)) {
      throw new UserError('import reads no URL: fetch it first (curl -L URL | stratafs import -)');
    }
    const isDirectory = path !== '-' && isDirectoryAt(path);
    const holds = isDirectory
      ? existsSync(bytes(`${path}/oci-layout`))
      : path !== '-' && (await holdsImages(inputFile(path)));
    const store = await openStore(globals);
    if (holds) {
      if (values.change.length > 0 || values.message !== undefined) {
        throw new UserError(
          '--change and --message are for a root file system, not for whole images',
        );
      }
      const options = { ...platform, ...(name ? { name } : {}) };
      const loaded = isDirectory
        ? await loadDirectory(store, path, options)
        : await loadTar(store, inputFile(path), options);
      print(loadedText(loaded, false));
      return 0;
    }
    const source = isDirectory
      ? { directory: path }
      : path === '-'
        ? standardInput()
        : inputFile(path);
    const id = await importRootfs(store, source, {
      ...platform,
      changes: values.change,
      ...(values.message === undefined ? {} : { message: values.message }),
      ...(reference ? { reference } : {}),
    });
    print(`${id}\n`);
    return 0;
  },
});

function isDirectoryAt(path: string): boolean {
  const found = look(path);
  return typeof found === 'object' && found.isDirectory;
}
