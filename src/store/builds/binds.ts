/** What `RUN --mount=type=bind` shows: the context without what .dockerignore leaves out, a stage, an image. */
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { isDir } from '../../base/mode.js';
import { E, errnoText, UserError } from '../../base/errno.js';
import { toLatin1 } from '../../base/bytes.js';
import { bytes } from '../../sys/paths.js';
import { AT_FDCWD } from '../../sys/constants.js';
import { S_IFCHR } from '../../base/mode.js';
import { treesOf } from '../layers/stack.js';
import { Below } from './below.js';
import type { StageScope } from './scope.js';
import { CopyPlan } from './copyPlan.js';
import type { SourceTree } from './sourceTree.js';
import { emptyDirectory } from './workdirStep.js';

const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

/**
 * A layer above the context with a whiteout for everything that is left out. Directories that have
 * something that stays are merged.
 */
function hideIgnored(tree: SourceTree, layer: string): void {
  const hide = (from: string): void => {
    const { listed } = tree.sys.stats;
    for (const name of tree.list(from)) {
      const path = from === '' ? name : `${from}/${name}`;
      const fd = tree.openDirectory(from);
      const code = tree.sys.statName(fd, name, listed);
      tree.sys.native.close(fd);
      if (code < 0) continue;
      if (isDir(listed.mode)) {
        const ignored = tree.ignored(path, true);
        if (ignored && !keepsSome(tree, path)) whiteout(tree, layer, path);
        else {
          likeDirectory(tree, layer, path);
          hide(path);
        }
      } else if (tree.ignored(path, false)) whiteout(tree, layer, path);
    }
  };
  hide('');
}

function keepsSome(tree: SourceTree, path: string): boolean {
  const { listed } = tree.sys.stats;
  const fd = tree.openDirectory(path);
  try {
    for (const name of tree.list(path)) {
      const each = `${path}/${name}`;
      if (tree.sys.statName(fd, name, listed) < 0) continue;
      const isDirectory = isDir(listed.mode);
      if (!tree.ignored(each, isDirectory)) return true;
      if (isDirectory && keepsSome(tree, each)) return true;
    }
    return false;
  } finally {
    tree.sys.native.close(fd);
  }
}

function likeDirectory(tree: SourceTree, layer: string, path: string): void {
  const target = bytes(`${layer}/${path}`);
  mkdirSync(target, { recursive: true });
  const fd = tree.openDirectory(path);
  try {
    chmodSync(target, statSync(`/proc/self/fd/${fd}`).mode & 0o7777);
  } finally {
    tree.sys.native.close(fd);
  }
}

function whiteout(tree: SourceTree, layer: string, path: string): void {
  const code = tree.sys.native.mknodat(AT_FDCWD, `${layer}/${path}`, S_IFCHR, 0, 0);
  if (code < 0 && code !== -E.EEXIST) {
    throw new UserError(`cannot leave ${path} out of the bound context: ${errnoText(code)}`);
  }
}

async function layersOf(run: StageScope, from: string | undefined): Promise<string[]> {
  const { build } = run;
  if (from !== undefined) return treesOf(build.store, await build.layersOf(from, run.index));
  const { path, hasIgnore } = build.context;
  if (!hasIgnore) return [path];
  const layer = emptyDirectory(build);
  hideIgnored(build.contextTree(), layer);
  return [layer, path];
}

/** The directory to bind; latin1. What is written to a writable one is thrown away with the build. */
export async function bindRoot(
  run: StageScope,
  from: string | undefined,
  writable: boolean,
): Promise<string> {
  const { build } = run;
  const layers = await layersOf(run, from);
  if (!writable) return build.trees.shared(layers);
  const [upper, work] = [emptyDirectory(build), emptyDirectory(build)].map(utf8);
  const lower = layers.length === 0 ? [emptyDirectory(build)] : layers;
  return build.trees.mount(lower, { upper, work, durability: 'volatile' });
}

/** What the step depends on: a stage's layers, or the content of the context below `source`. */
export async function bindDigest(
  run: StageScope,
  from: string | undefined,
  source: string,
): Promise<unknown> {
  const { build } = run;
  if (from !== undefined) return build.layersOf(from, run.index);
  const below = new Below([]);
  try {
    const plan = new CopyPlan(below, emptyDirectory(build));
    const tree = build.contextTree();
    const options = { owner: undefined, mode: undefined };
    for (const match of tree.match(toLatin1(source))) {
      plan.add(tree, match, below.find(match.isDirectory ? '/' : '/file'), options);
    }
    return await plan.digest();
  } finally {
    below.close();
  }
}
