/** `load`. */
import { parsePlatform } from '../../store/images/platform.js';
import { familiar } from '../../store/images/reference.js';
import { openStore } from '../../store/state/store.js';
import { type Loaded, loadDirectory, loadTar } from '../../store/transfer/load.js';
import { look } from '../../sys/paths.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';
import { inputFile, standardInput } from './input.js';

export function loadedText(loaded: readonly Loaded[], quiet: boolean): string {
  let text = '';
  for (const { id, names, replaced } of loaded) {
    for (const { name, id: before } of quiet ? [] : replaced) {
      text += `The image ${familiar(name)} already exists, renaming the old one with ID ${before} to empty string\n`;
    }
    text += names.map((name) => `Loaded image: ${familiar(name)}\n`).join('');
    if (names.length === 0) text += `Loaded image ID: ${id}\n`;
  }
  return text;
}

export default command({
  usage: 'load [OPTIONS]',
  about: 'Load an image from a docker-archive, an oci-archive or an OCI layout, or from STDIN',
  args: [0, 0],
  flags: {
    input: {
      kind: 'path',
      short: 'i',
      help: 'Read from a file or a layout’s directory, instead of STDIN',
    },
    platform: { kind: 'string', help: 'Take the image for this platform, such as linux/arm64' },
    quiet: { kind: 'bool', short: 'q', help: 'Suppress the load output' },
  },
  async run({ values, globals }) {
    const platform =
      values.platform === undefined ? {} : { platform: parsePlatform(values.platform) };
    const path = values.input;
    const source = path === undefined ? standardInput() : inputFile(path);
    const store = await openStore(globals);
    const found = path === undefined ? 0 : look(path);
    const loaded =
      path !== undefined && typeof found === 'object' && found.isDirectory
        ? await loadDirectory(store, path, platform)
        : await loadTar(store, source, platform);
    print(loadedText(loaded, values.quiet));
    return 0;
  },
});
