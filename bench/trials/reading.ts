/** Trials that only read the merged tree. */
import { join } from 'node:path';
import { median } from '../statistics.js';
import type { Trial } from '../types.js';
import { orOne, reading, TAR_TO_NOWHERE } from './shape.js';

const small: Trial = {
  name: 'small',
  group: 'Reading',
  short: true,
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

export const readingTrials: readonly Trial[] = [
  reading({
    name: 'find',
    title: '`find -ls`',
    group: 'Reading',
    short: true,
    tool: () => ['find', '.', '-ls'],
    touch: ['find', '/etc/hostname', '-ls'],
  }),
  reading({
    name: 'ls',
    title: '`ls -lR`',
    group: 'Reading',
    tool: () => ['ls', '-lR', '.'],
    touch: ['ls', '-lR', '/etc/hostname'],
  }),
  reading({
    name: 'tar',
    title: '`tar` read',
    group: 'Reading',
    short: true,
    tool: () => [...TAR_TO_NOWHERE, 'lib'],
    touch: [...TAR_TO_NOWHERE, '-C', '/etc', 'hostname'],
  }),
  reading({
    name: 'grep',
    title: '`grep -r`',
    group: 'Reading',
    tool: () => orOne('grep -r no-file-has-these-words lib'),
    touch: orOne('grep -r no-file-has-these-words /etc/hostname'),
  }),
  small,
  reading({
    name: 'listing',
    title: '`ls -f` of 200,000 entries',
    group: 'Reading',
    part: 'many',
    tool: () => ['ls', '-f', join('many', '0')],
    touch: ['ls', '-f', '/etc/hostname'],
  }),
  reading({
    name: 'read',
    title: 'sequential read',
    group: 'Data',
    short: true,
    tool: () => ['dd', `if=${join('big', 'data')}`, 'of=/dev/null', 'bs=1M', 'status=none'],
    touch: ['dd', 'if=/etc/hostname', 'of=/dev/null', 'status=none'],
    coldRuns: 3,
    large: true,
  }),
];
