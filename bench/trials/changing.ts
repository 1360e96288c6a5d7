/**
 * Trials that change names and attributes. Each begins with dropped caches and names that no round
 * before has used; what it leaves is deleted after the run: creating and deleting thousands of
 * files round after round slows ext4 itself.
 */
import { join } from 'node:path';
import type { Context, Row, Trial } from '../types.js';
import { aside, once, target, walked } from './shape.js';

interface Change {
  readonly name: string;
  readonly title: string;
  readonly short?: boolean;
  readonly large?: boolean;
  readonly programs?: readonly string[];
  readonly parts?: readonly string[];
  /** Makes all ready and returns what is timed. */
  readonly ready: (context: Context) => { cwd: string; tool: readonly string[] };
}

function changing({ name, title, ready, ...rest }: Change): Trial {
  const rows: Row[] = [{ id: name, title, unit: 'ms' }];
  const run = (context: Context) => {
    const { cwd, tool } = ready(context);
    return { values: { [name]: once(context, cwd, ...tool) } };
  };
  return { name, group: 'Changing', rows, ...rest, run };
}

/** A change of a lower tree that has been walked before. */
function lowerChange(
  name: string,
  title: string,
  tree: 'include' | 'etc',
  tool: readonly string[],
  short: boolean,
): Trial {
  // The tool's own start is warm: here it changes nothing, or fails to.
  const [program = ''] = tool;
  const ready = (context: Context) => ({
    cwd: walked(context, tree, [program, '--version']),
    tool,
  });
  return changing({ name, title, short, ready });
}

const untar = changing({
  name: 'untar',
  title: 'untar',
  short: true,
  ready: (context) => {
    const { archive } = context.fixture;
    const to = target(context);
    // Reading the archive's names brings the archive itself back into the page cache.
    context.cold(['tar', '-tf', archive]);
    context.client('/', 'exec', '1', 'mkdir', to);
    return { cwd: to, tool: ['tar', '-xf', archive] };
  },
});

const copy = changing({
  name: 'cp',
  title: '`cp -a`',
  short: true,
  ready: (context) => {
    const root = context.tree();
    const to = target(context);
    const empty = aside(context, 'empty');
    context.cold(['cp', '-a', empty, `${empty}-copy`]);
    return { cwd: root, tool: ['cp', '-a', 'include', to] };
  },
});

const npm = changing({
  name: 'npm',
  title: '`npm ci` of 40 packages, offline',
  programs: ['npm'],
  parts: ['npm'],
  ready: (context) => {
    const project = join(walked(context, 'project', ['npm', '--version'], 'npm'), 'project');
    const cache = join(context.part('npm'), 'cache');
    const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
    const still = ['--logs-max=0', '--no-update-notifier'];
    const tool = ['npm', 'ci', '--offline', `--cache=${cache}`, ...quiet, ...still];
    return { cwd: project, tool };
  },
});

const apt = changing({
  name: 'apt',
  title: '`apt-get install` of 20 packages in a chroot',
  large: true,
  programs: ['chroot', 'unshare'],
  parts: ['debian'],
  ready: (context) => {
    const root = context.driver.command
      ? context.tree('debian')
      : join(context.scratch('', 'debian'), 'layer');
    context.cold(['unshare', '--version'], ['chroot', '--version']);
    const work = 'mount --rbind /dev dev && exec chroot . /repo/install';
    return { cwd: root, tool: ['unshare', '-m', 'sh', '-ec', work] };
  },
});

const removeUpper = changing({
  name: 'rm-upper',
  title: '`rm -rf` of an upper tree',
  ready: (context) => {
    const to = target(context);
    context.client('/', 'exec', '1', 'mkdir', to);
    context.client(to, 'exec', '1', 'tar', '-xf', context.fixture.archive);
    context.cold(['rm', '-rf', join(context.directory, 'nothing')]);
    context.client('/', 'exec', '1', 'find', to, '-ls');
    return { cwd: '/', tool: ['rm', '-rf', to] };
  },
});

export const changingTrials: readonly Trial[] = [
  untar,
  copy,
  npm,
  apt,
  lowerChange('rm', '`rm -rf` of a lower tree', 'include', ['rm', '-rf', 'include'], true),
  removeUpper,
  lowerChange('mv', '`mv` of a lower tree', 'include', ['mv', 'include', 'moved'], false),
  lowerChange('chmod', '`chmod -R` of a lower tree', 'etc', ['chmod', '-R', 'go-rwx', 'etc'], true),
  lowerChange('chown', '`chown -R` of a lower tree', 'etc', ['chown', '-R', '7:7', 'etc'], false),
  lowerChange(
    'truncate',
    '`truncate` of all files of a lower tree',
    'etc',
    ['find', 'etc', '-type', 'f', '-exec', 'truncate', '-s', '0', '{}', '+'],
    false,
  ),
];
