/** What tells the data planes apart: the price of an open, and of a page kept twice. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MIB } from '../bigFile.js';
import { SIZES } from '../parts/sizes.js';
import { median } from '../statistics.js';
import type { Context, Row, Trial } from '../types.js';
import { aside, nothingToMount, once } from './shape.js';

/** Read-only, which is what data=auto decides about. */
function treeOf(context: Context, part: string): string {
  const layer = join(context.part(part), 'layer');
  if (!context.driver.command) return layer;
  // A second one, because kernel overlayfs does not mount a single layer.
  const lowers = [layer, aside(context, 'empty')];
  return context.mount({ readOnly: true, lowers }).mountpoint;
}

/** So many bytes in all are felt in the machine's free memory. */
const LARGE = 16 * MIB;

const sizes: Trial = {
  name: 'sizes',
  group: 'Data',
  parts: ['sizes'],
  rows: SIZES.flatMap(({ id, title }): Row[] => [
    { id: `sizes.${id}.cold`, title: `open, read and close a file of ${title}, cold`, unit: 'µs' },
    { id: `sizes.${id}.warm`, title: `open, read and close a file of ${title}, warm`, unit: 'µs' },
  ]),
  run: (context) => {
    const root = treeOf(context, 'sizes');
    const values: Record<string, number> = {};
    for (const { id, count, bytes } of SIZES) {
      const read = ['open', join(context.part('sizes'), `${id}.list`)];
      context.cold(['ls', root]);
      if (count * bytes >= LARGE) context.memory();
      const [cold = NaN] = context.client(root, ...read, '1');
      const warm = median(context.client(root, ...read, context.quick ? '1' : '5'));
      values[`sizes.${id}.cold`] = cold / 1e3 / count;
      values[`sizes.${id}.warm`] = warm / 1e3 / count;
    }
    return { values };
  },
};

const CONTAINERS = 10;
/** Of the image's large file, in MiB. */
const READ = 64;

/** Pages that hold files, in MiB. */
function pageCache(): number {
  return Number(/^Cached:\s*(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]) / 1024;
}

const pages: Trial = {
  name: 'pages',
  group: 'Mounts and memory',
  rows: [
    { id: 'pages.1', title: 'page cache of one container that read 64 MiB', unit: 'MiB' },
    { id: 'pages.10', title: 'page cache of ten that read the same of one image', unit: 'MiB' },
    { id: 'pages.fadvise', title: 'the same after posix_fadvise on the layers', unit: 'MiB' },
    { id: 'pages.first', title: 'that reading in the first container, cold', unit: 'ms' },
    { id: 'pages.next', title: 'that reading in each further container', unit: 'ms' },
  ],
  refuses: nothingToMount,
  run: (context) => {
    const { bigBytes, lowers } = context.fixture;
    const count = `count=${Math.min(READ, bigBytes / MIB)}`;
    const dd = ['dd', 'of=/dev/null', 'bs=1M', 'status=none', count];
    const roots = Array.from({ length: CONTAINERS }, () => context.mount().mountpoint);
    context.cold(['dd', 'if=/etc/hostname', 'of=/dev/null', 'status=none']);
    context.memory();
    const before = pageCache();
    const read = (root: string) => once(context, root, ...dd, 'if=big/data');
    const [first = '', ...others] = roots;
    const values: Record<string, number> = { 'pages.first': read(first) };
    values['pages.1'] = pageCache() - before;
    values['pages.next'] = median(others.map(read));
    values['pages.10'] = pageCache() - before;
    // POSIX_FADV_DONTNEED for the whole file (dd's manual: nocache with count=0).
    const layer = lowers.find((path) => existsSync(join(path, 'big/data'))) ?? '';
    once(context, layer, 'dd', 'if=big/data', 'iflag=nocache', 'count=0', 'status=none');
    values['pages.fadvise'] = pageCache() - before;
    return { values };
  },
};

export const planeTrials: readonly Trial[] = [sizes, pages];
