/** `gc`. */
import { endStaleBuilds } from '../store/builds/stale.js';
import { survey, sweep, type Verdict } from '../store/collect/gc.js';
import { shortId } from '../store/state/ids.js';
import { openStore } from '../store/state/store.js';
import { command } from './frame/command.js';
import { humanSize } from './frame/human.js';
import { print } from './frame/output.js';
import { alignColumns } from './frame/table.js';

/** `layer 0123456789ab`, or a path for what is no object. */
function name({ object }: Verdict): string {
  const match = /^(layer|blob)s\/([0-9a-f]{64})$/.exec(object);
  return match ? `${match[1]} ${shortId(match[2])}` : object;
}

const line = (verdict: Verdict): string[] => [
  verdict.keep ? 'keep' : 'remove',
  name(verdict),
  humanSize(verdict.bytes),
  verdict.reason,
];

export default command({
  usage: 'gc [OPTIONS]',
  about:
    'Remove layers and blobs that no image, container, volume or command needs, and what crashes have left',
  args: [0, 0],
  flags: {
    'dry-run': {
      kind: 'bool',
      short: 'n',
      help: 'Remove nothing; say of each object why it stays or goes',
    },
    format: { kind: 'string', help: "'json' with --dry-run" },
  },
  async run({ values, globals }) {
    const store = await openStore(globals);
    if (!values['dry-run']) {
      await endStaleBuilds(store);
      const { removed, bytes } = await sweep(store);
      const lines = removed.map((use) => `deleted: ${use.replace(/s\//, ' ')}\n`);
      print(`${lines.join('')}Total reclaimed space: ${humanSize(bytes, 4)}\n`);
      return 0;
    }
    const verdicts = await survey(store);
    if (values.format === 'json') {
      for (const { object, keep, bytes, reason } of verdicts) {
        print(`${JSON.stringify({ Object: object, Keep: keep, Size: bytes, Reason: reason })}\n`);
      }
      return 0;
    }
    print(alignColumns([['ACTION', 'OBJECT', 'SIZE', 'REASON'], ...verdicts.map(line)]));
    return 0;
  },
});
