/** How data is moved, and when it is on the disk. */
import * as kind from '../kinds.js';

export const data: kind.Rows = [
  kind.word(
    'volatile',
    (into) => {
      into.volatile = true;
    },
    {
      help: 'sync nothing; the workdir is marked and refused by the next mount, as in overlayfs',
    },
  ),
  kind.switched(
    'fsync',
    (into, on) => {
      into.fsync = on;
    },
    { usage: 'fsync=0|1', help: '0: sync nothing, without the mark' },
  ),
  kind.choice(
    'data',
    ['cached', 'passthrough', 'auto'],
    (into, value) => {
      into.data = value;
    },
    {
      usage: 'data=cached|passthrough|auto',
      help: "who moves the data: requests and the page cache (default), the layers' files themselves (root), or these where files are large and only read",
      docs:
        "who moves the data: the mount's page cache, filled by requests (default), the layers' " +
        'files themselves, or these where files are large and only read; [data planes](data-planes.md)',
    },
  ),
  kind.switched(
    'writeback',
    (into, on) => {
      into.writeback = on;
    },
    {
      usage: 'writeback=0|1',
      help: 'collect writes in the kernel (default 1); 0 is faster for reading many small files',
    },
  ),
];
