/** `layer verify`. */
import { display } from '../../base/bytes.js';
import { isSound, type Verified, verifyLayer } from '../../store/layers/verify.js';
import { mustFindLayer } from '../../store/layers/stack.js';
import { type Digest, digestOf, shortId } from '../../store/state/ids.js';
import { openStore, type Store } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';

/** The layers that are named; all of them when none is. */
export const layersNamed = (store: Store, args: readonly string[]): Digest[] =>
  args.length === 0
    ? store.list('layers').map(digestOf)
    : args.map((text) => mustFindLayer(store, text));

function text({ layer, blob, differences, judged }: Verified): string {
  const lines = [
    ...(blob === undefined ? [] : [`  its blob: ${blob}`]),
    ...(judged ? [] : ['  its files cannot be judged without the blob']),
    ...differences.map(({ path, what }) => `  ${display(path)}: ${what}`),
  ];
  return `${shortId(layer)}: ${lines.length === 0 ? 'ok' : `damaged\n${lines.join('\n')}`}\n`;
}

export default command({
  usage: 'layer verify [OPTIONS] [LAYER...]',
  about: 'Compare the files of layers (all when none is named) with what their IDs stand for',
  args: [0, Number.POSITIVE_INFINITY],
  flags: { quiet: { kind: 'bool', short: 'q', help: 'Only show IDs of damaged layers' } },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    let status = 0;
    for (const layer of layersNamed(store, args)) {
      const verified = await verifyLayer(store, layer);
      const sound = isSound(verified);
      if (!sound) status = 1;
      if (!values.quiet) print(text(verified));
      else if (!sound) print(`${shortId(layer)}\n`);
    }
    return status;
  },
});
