/** `history`, `image history`. */
import { imageHistory, type HistoryStep } from '../../store/images/history.js';
import { shortId } from '../../store/state/ids.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { ago, humanSize } from '../frame/human.js';
import { printList, type Row } from '../frame/table.js';

const CUT = 45;

interface Options {
  readonly human: boolean;
  readonly 'no-trunc': boolean;
}

function row(step: HistoryStep, { human, 'no-trunc': whole }: Options): Row {
  const by = step.createdBy.replace(/\s+/g, ' ');
  const cut = !whole && by.length > CUT ? `${by.slice(0, CUT - 1)}…` : by;
  return {
    ID: step.id === undefined ? '<missing>' : whole ? step.id : shortId(step.id),
    CreatedSince: human ? ago(step.created) : (step.created ?? ''),
    CreatedAt: step.created ?? '',
    CreatedBy: cut,
    Size: human ? humanSize(step.size) : String(step.size),
    Comment: step.comment,
  };
}

export default command({
  usage: 'history [OPTIONS] IMAGE',
  about: 'Show the history of an image',
  args: [1, 1],
  flags: {
    format: { kind: 'string', help: "'table', 'table TEMPLATE', 'json', or 'TEMPLATE'" },
    human: {
      kind: 'bool',
      short: 'H',
      on: true,
      help: 'Print sizes and dates in human readable format',
    },
    'no-trunc': { kind: 'bool', help: "Don't truncate output" },
    quiet: { kind: 'bool', short: 'q', help: 'Only show image IDs' },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const rows = imageHistory(store, args[0]).map((step) => row(step, values));
    const table = {
      ID: 'IMAGE',
      CreatedSince: values.human ? 'CREATED' : 'CREATED AT',
      CreatedBy: 'CREATED BY',
      Size: 'SIZE',
      Comment: 'COMMENT',
    };
    const more = { CreatedAt: 'CREATED AT' };
    printList(rows, { table, more, quiet: 'ID' }, { format: values.format, quiet: values.quiet });
    return 0;
  },
});
