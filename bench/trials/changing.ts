/**
 * Trials that change the tree. Each begins with dropped caches and names that no round before has
 * used; what it leaves is deleted after the run: creating and deleting thousands of files round
 * after round slows ext4 itself.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { median } from '../statistics.js';
import type { Context, Trial } from '../types.js';
import { MS } from './reading.js';

/** Times one command in `cwd`, in ms. */
function once(context: Context, cwd: string, ...tool: string[]): number {
  const [ns = NaN] = context.client(cwd, 'exec', '1', ...tool);
  return ns / MS;
}

/** A place for new names: in the mount, or the trial's own directory. */
function target(context: Context): string {
  const root = context.driver.command ? context.tree() : context.directory;
  return join(root, `new-${process.pid}`);
}

const untar: Trial = {
  name: 'untar',
  rows: [{ id: 'untar', title: 'untar', unit: 'ms' }],
  run: (context) => {
    const { archive } = context.fixture;
    const to = target(context);
    // Reading the archive's names brings the archive itself back into the page cache.
    context.cold(['tar', '-tf', archive]);
    context.client('/', 'exec', '1', 'mkdir', to);
    return { values: { untar: once(context, to, 'tar', '-xf', archive) } };
  },
};

const copy: Trial = {
  name: 'cp',
  rows: [{ id: 'cp', title: '`cp -a`', unit: 'ms' }],
  run: (context) => {
    const root = context.tree();
    const to = target(context);
    const empty = join(context.directory, 'empty');
    mkdirSync(empty);
    context.cold(['cp', '-a', empty, `${empty}-copy`]);
    return { values: { cp: once(context, root, 'cp', '-a', 'include', to) } };
  },
};

/** The tree has been walked before: the change is measured, not the disk's first reads. */
function walked(context: Context, name: string, tool: readonly string[]): string {
  const root = context.scratch(name);
  context.cold(tool);
  context.client(root, 'exec', '1', 'find', name, '-ls');
  return root;
}

const remove: Trial = {
  name: 'rm',
  rows: [{ id: 'rm', title: '`rm -rf` of a lower tree', unit: 'ms' }],
  run: (context) => {
    const root = walked(context, 'include', ['rm', '-rf', join(context.directory, 'nothing')]);
    return { values: { rm: once(context, root, 'rm', '-rf', 'include') } };
  },
};

const changeMode: Trial = {
  name: 'chmod',
  rows: [{ id: 'chmod', title: '`chmod -R` of a lower tree', unit: 'ms' }],
  run: (context) => {
    const root = walked(context, 'etc', ['chmod', '-R', 'u+r', context.fixture.smallFiles]);
    return { values: { chmod: once(context, root, 'chmod', '-R', 'go-rwx', 'etc') } };
  },
};

const sequentialWrite: Trial = {
  name: 'write',
  rows: [{ id: 'write', title: 'sequential write of half the large file + fsync', unit: 'ms' }],
  run: (context) => {
    const to = target(context);
    const tail = ['bs=1M', 'conv=fsync', 'status=none'];
    context.cold(['dd', 'if=/dev/zero', `of=${context.directory}/touch`, 'count=1', ...tail]);
    const count = context.fixture.bigBytes / (2 * 1024 * 1024);
    const times = [1, 2, 3].map((number) =>
      once(context, '/', 'dd', 'if=/dev/zero', `of=${to}-${number}`, `count=${count}`, ...tail),
    );
    return { values: { write: median(times) } };
  },
};

export const changingTrials: readonly Trial[] = [untar, copy, remove, changeMode, sequentialWrite];
