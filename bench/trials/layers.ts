/** Trials over stacks of 1 to 2,000 layers. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median } from '../statistics.js';
import type { Context, Outcome, Trial } from '../types.js';
import { MS, nothingToMount } from './shape.js';

const COUNTS = [1, 20, 128, 500, 2000];
/** OVL_MAX_STACK */
const MOST_IN_KERNEL = 500;
/** Names in the bottom layer, as parts/scale.ts makes them. */
const NAMES = 100;

function lists(context: Context): Record<'one' | 'missing' | 'all', string> {
  const write = (name: string, names: readonly string[]) => {
    const list = join(context.directory, `${name}.list`);
    writeFileSync(list, `${names.join('\n')}\n`);
    return list;
  };
  const all = Array.from({ length: NAMES }, (_, i) => `d/bottom-${i}`);
  return {
    one: write('one', all.slice(0, 1)),
    missing: write('missing', ['d/there-is-no-such-name']),
    all: write('all', all),
  };
}

/** The first access of its kind, with the kernel's caches dropped, in ms. */
function firstOf(context: Context, root: string, mode: string, list: string): number {
  context.cold();
  const [ns = NaN] = context.client(root, mode, list, '1');
  return ns / MS;
}

function stack(context: Context, id: string, count: number): Outcome {
  const cwd = join(context.part('layers'), 'layers');
  // Layer 0 has the names; it is the bottom of every stack. Short names: mount(2) takes 4 KiB.
  const lowers = [...Array.from({ length: count - 1 }, (_, i) => String(i + 1)), '0'];
  const mounts = [1, 2, 3].map(() => context.mount({ lowers, cwd }));
  // A mount of its own for each question: a server remembers what it was asked.
  const [root = '', other = '', third = ''] = mounts.map(({ mountpoint }) => mountpoint);
  const list = lists(context);
  const lookup = firstOf(context, root, 'stat', list.one);
  const missing = firstOf(context, other, 'missing', list.missing);
  context.cold(['ls', '--version']);
  const listing = context.client(third, 'exec', '1', 'ls', '-f', '.');
  context.client(root, 'stat', list.all, '1');
  const warm = context.client(root, 'stat', list.all, '20');
  return {
    values: {
      [`${id}.mount`]: median(mounts.map(({ ns }) => ns / MS)),
      [`${id}.lookup`]: lookup,
      [`${id}.missing`]: missing,
      [`${id}.list`]: median(listing) / MS,
      [`${id}.warm`]: median(warm) / 1e3 / NAMES,
    },
  };
}

export const layerTrials: readonly Trial[] = COUNTS.map((count) => {
  const id = `layers-${count}`;
  const title = `${count} layer${count > 1 ? 's' : ''}`;
  return {
    name: id,
    group: 'Scale',
    parts: ['layers'],
    rows: [
      { id: `${id}.mount`, title: `${title}: mount to first answer`, unit: 'ms' },
      { id: `${id}.lookup`, title: `${title}: name in the bottom layer, cold`, unit: 'ms' },
      { id: `${id}.missing`, title: `${title}: missing name, cold`, unit: 'ms' },
      { id: `${id}.list`, title: `${title}: listing of /, cold`, unit: 'ms' },
      { id: `${id}.warm`, title: `${title}: stat, warm (each)`, unit: 'µs' },
    ],
    refuses: (driver) =>
      nothingToMount(driver) ??
      (driver.command?.[0] === 'mount' && count > MOST_IN_KERNEL
        ? `the kernel stacks ${MOST_IN_KERNEL} layers at most`
        : undefined),
    run: (context) => stack(context, id, count),
  };
});
