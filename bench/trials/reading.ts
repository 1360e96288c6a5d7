/** Trials that only read the merged tree. */
import { join } from 'node:path';
import { median } from '../statistics.js';
import type { Context, Trial } from '../types.js';

export const MS = 1e6;

/** GNU tar does not read files when the archive is /dev/null; /dev/zero swallows it as well. */
export const TAR_TO_NOWHERE = ['tar', '-cf', '/dev/zero'];

const TOUCH_FIND = ['find', '/etc/hostname', '-ls'];
const TOUCH_TAR = [...TAR_TO_NOWHERE, '-C', '/etc', 'hostname'];

/**
 * The median of the cold runs, one run to warm up, the median of a few warm ones. Only the first
 * cold run finds a server that knows nothing; the others are for work that the disk dominates.
 */
function coldAndWarm(
  context: Context,
  id: string,
  root: string,
  tool: readonly string[],
  touch: readonly string[],
  coldRuns = 1,
): Record<string, number> {
  const cold: number[] = [];
  for (let run = 0; run < coldRuns; run++) {
    context.cold(touch);
    cold.push(...context.client(root, 'exec', '1', ...tool));
  }
  context.client(root, 'exec', '1', ...tool);
  const warm = context.client(root, 'exec', context.quick ? '1' : '3', ...tool);
  return { [`${id}.cold`]: median(cold) / MS, [`${id}.warm`]: median(warm) / MS };
}

const find: Trial = {
  name: 'find',
  rows: [
    { id: 'find.cold', title: '`find -ls`, cold', unit: 'ms' },
    { id: 'find.warm', title: '`find -ls`, warm', unit: 'ms' },
  ],
  run: (context) => ({
    values: coldAndWarm(context, 'find', context.tree(), ['find', '.', '-ls'], TOUCH_FIND),
  }),
};

const tar: Trial = {
  name: 'tar',
  rows: [
    { id: 'tar.cold', title: '`tar` read, cold', unit: 'ms' },
    { id: 'tar.warm', title: '`tar` read, warm', unit: 'ms' },
  ],
  run: (context) => {
    const tool = [...TAR_TO_NOWHERE, 'lib'];
    return { values: coldAndWarm(context, 'tar', context.tree(), tool, TOUCH_TAR) };
  },
};

const small: Trial = {
  name: 'small',
  rows: [
    { id: 'small.stat', title: 'stat, warm (each)', unit: 'µs' },
    { id: 'small.open', title: 'open+read+close of a small file, warm (each)', unit: 'µs' },
    { id: 'small.missing', title: 'stat of a missing name, warm (each)', unit: 'µs' },
  ],
  run: (context) => {
    const root = context.tree();
    const { smallFiles, missingNames, counts } = context.fixture;
    const each = (mode: string, list: string) => {
      context.client(root, mode, list, '1');
      const times = context.client(root, mode, list, context.quick ? '1' : '5');
      return median(times) / 1e3 / counts.small;
    };
    return {
      values: {
        'small.stat': each('stat', smallFiles),
        'small.open': each('open', smallFiles),
        'small.missing': each('missing', missingNames),
      },
    };
  },
};

const sequentialRead: Trial = {
  name: 'read',
  rows: [
    { id: 'read.cold', title: 'sequential read, cold', unit: 'ms' },
    { id: 'read.warm', title: 'sequential read, warm', unit: 'ms' },
  ],
  run: (context) => {
    const tool = ['dd', `if=${join('big', 'data')}`, 'of=/dev/null', 'bs=1M', 'status=none'];
    const touch = ['dd', 'if=/etc/hostname', 'of=/dev/null', 'status=none'];
    return { values: coldAndWarm(context, 'read', context.tree(), tool, touch, 3) };
  },
};

export const readingTrials: readonly Trial[] = [find, tar, small, sequentialRead];
