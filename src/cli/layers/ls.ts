/** `layer ls`. */
import { readLayer } from '../../store/layers/add.js';
import { imagesWith } from '../../store/layers/stack.js';
import { digestOf, shortId } from '../../store/state/ids.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { ago, humanSize } from '../frame/human.js';
import { printList } from '../frame/table.js';

export default command({
  usage: 'layer ls [OPTIONS]',
  about: 'List layers: each is stored once, however many images use it',
  args: [0, 0],
  flags: {
    format: { kind: 'string', help: "'table', 'table TEMPLATE', 'json', or 'TEMPLATE'" },
    'no-trunc': { kind: 'bool', help: "Don't truncate output" },
    quiet: { kind: 'bool', short: 'q', help: 'Only show layer IDs' },
  },
  async run({ values, globals }) {
    const store = await openStore(globals);
    const id = (text: string): string => (values['no-trunc'] ? text : shortId(text));
    const rows = store.list('layers').map((key) => {
      const record = readLayer(store, digestOf(key))!;
      return {
        ID: id(record.diffId),
        Images: imagesWith(store, record.diffId).length,
        AddedSince: ago(record.added),
        AddedAt: record.added,
        Blob: id(record.blob),
        BlobSize: humanSize(record.blobSize),
        Entries: record.entries,
        Size: humanSize(record.size),
      };
    });
    const table = {
      ID: 'LAYER ID',
      Images: 'IMAGES',
      AddedSince: 'ADDED',
      BlobSize: 'BLOB SIZE',
      Size: 'SIZE',
    };
    const more = { AddedAt: 'ADDED AT', Blob: 'BLOB', Entries: 'ENTRIES' };
    printList(rows, { table, more, quiet: 'ID' }, { format: values.format, quiet: values.quiet });
    return 0;
  },
});
