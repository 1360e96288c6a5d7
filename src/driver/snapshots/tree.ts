/** Directory trees of any content: names are bytes, paths may be longer than PATH_MAX. */
import { execFile } from 'node:child_process';
import { lstatSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { E, UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import type { Usage } from '../snapshotter.js';

const run = promisify(execFile);
const SLASH = Buffer.from('/');
const BLOCK = 512;

/** The names in a directory; none when it has gone, or its path is longer than the kernel takes. */
async function list(directory: Buffer): Promise<Buffer[]> {
  try {
    return await readdir(directory, { encoding: 'buffer' });
  } catch (error) {
    if ([E.ENOENT, E.ENOTDIR, E.ENAMETOOLONG].includes(errnoOf(error))) return [];
    throw error;
  }
}

function stat(path: Buffer) {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    // A container may be deleting while this counts.
    if ([E.ENOENT, E.ENOTDIR, E.ENAMETOOLONG].includes(errnoOf(error))) return undefined;
    throw error;
  }
}

/** What the tree below `root` takes on the disk, itself included. It may change meanwhile. */
export async function measure(root: string): Promise<Usage> {
  const seen = new Set<bigint>();
  const waiting = [Buffer.from(root)];
  let [blocks, inodes] = [0n, 1];
  blocks += stat(waiting[0])?.blocks ?? 0n;
  for (let directory = waiting.pop(); directory; directory = waiting.pop()) {
    for (const name of await list(directory)) {
      const path = Buffer.concat([directory, SLASH, name]);
      const info = stat(path);
      if (!info) continue;
      if (info.isDirectory()) waiting.push(path);
      else if (info.nlink > 1n) {
        if (seen.has(info.ino)) continue;
        seen.add(info.ino);
      }
      blocks += info.blocks;
      inodes++;
    }
  }
  return { size: Number(blocks) * BLOCK, inodes };
}

/** Deletes a tree. rm(1) walks by descriptors, so no depth and no name stops it. */
export async function removeTree(path: string): Promise<void> {
  try {
    await run('rm', ['-rf', '--', path]);
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new UserError(`cannot delete ${path}: ${said.split('\n')[0] || String(error)}`);
  }
}
