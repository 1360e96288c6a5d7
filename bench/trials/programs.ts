/** Trials that start programs, compile, and work with git. */
import { join } from 'node:path';
import { median } from '../statistics.js';
import type { Context, Trial } from '../types.js';
import { aside, MS, once, orOne, reading, walked } from './shape.js';

const IDENTITY = ['-c', 'user.name=bench', '-c', 'user.email=bench@example.org'];

/** git without the user's configuration; it refuses the repositories of others otherwise. */
const git = (...args: readonly string[]): readonly string[] => [
  'env',
  'GIT_CONFIG_GLOBAL=/dev/null',
  'GIT_CONFIG_NOSYSTEM=1',
  'git',
  ...['-c', 'safe.directory=*', '-c', 'gc.auto=0', '-c', 'maintenance.auto=false'],
  ...IDENTITY,
  ...args,
];

/** The repository lies in the lower layer; the first status writes an index that knows this tree. */
function repository(context: Context): string {
  const repo = join(context.scratch('repo', 'git'), 'repo');
  context.client(repo, 'exec', '2', ...git('status', '--short'));
  return repo;
}

const status: Trial = {
  name: 'git-status',
  group: 'Programs',
  rows: [{ id: 'git.status', title: '`git status`, warm', unit: 'ms' }],
  programs: ['git'],
  parts: ['git'],
  run: (context) => {
    const times = context.client(repository(context), 'exec', '5', ...git('status', '--short'));
    return { values: { 'git.status': median(times) / MS } };
  },
};

const commit: Trial = {
  name: 'git-commit',
  group: 'Programs',
  rows: [
    { id: 'git.sed', title: '`sed -i` of 200 files', unit: 'ms' },
    { id: 'git.commit', title: '`git commit` of these', unit: 'ms' },
  ],
  programs: ['git', 'sed', 'xargs'],
  parts: ['git'],
  run: (context) => {
    const repo = repository(context);
    context.cold(git('--version'), ['sed', '--version'], orOne('xargs --version'));
    context.client(repo, 'exec', '1', ...git('status', '--short'));
    const list = join(context.part('git'), 'changed.list');
    const sed = once(context, repo, 'xargs', '-a', list, 'sed', '-i', '1i changed');
    const done = once(context, repo, ...git('commit', '--quiet', '-am', 'Change'));
    return { values: { 'git.sed': sed, 'git.commit': done } };
  },
};

const compile: Trial = {
  name: 'compile',
  group: 'Programs',
  rows: [{ id: 'compile', title: '`make -j2` of 24 C files', unit: 'ms' }],
  programs: ['make', 'gcc'],
  parts: ['project'],
  run: (context) => {
    const root = walked(context, 'project', ['make', '--version'], 'project');
    const project = join(root, 'project');
    // The compiler lies outside the tree: it is warm, whoever serves.
    const other = aside(context, 'warm');
    context.client(other, 'exec', '1', 'make', '-s', '-f', join(project, 'Makefile'), 'warm');
    return { values: { compile: once(context, project, 'make', '-s', '-j2') } };
  },
};

const python = (root: string): readonly string[] => [
  'env',
  `PYTHONHOME=${join(root, 'python')}`,
  'PYTHONDONTWRITEBYTECODE=1',
  join(root, 'python/bin/python3'),
  '-c',
  'import argparse, asyncio, decimal, email.message, http.client, json, unittest',
];

export const programTrials: readonly Trial[] = [
  reading({
    name: 'python',
    title: 'start of `python3` with 7 modules',
    group: 'Programs',
    programs: ['python3'],
    part: 'programs',
    tool: python,
    touch: ['env', 'true'],
  }),
  reading({
    name: 'node',
    title: 'start of `node`',
    group: 'Programs',
    part: 'programs',
    tool: (root) => [join(root, 'node/bin/node'), '-e', '0'],
    touch: ['true'],
  }),
  status,
  commit,
  compile,
];
