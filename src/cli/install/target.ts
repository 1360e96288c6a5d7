/**
 * What `stratafs install TARGET` and `stratafs uninstall TARGET` have in common: a target plans files and
 * says which programs must be told; this shows, writes and removes them.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { UserError } from '../../base/errno.js';
import { type Command, command } from '../frame/command.js';
import type { Flags, Values } from '../frame/flags.js';
import { print, say } from '../frame/output.js';
import { edited, forget, type PlannedEdit, type Undo, undone, writesOf } from './edits.js';
import { marked, type PlannedFile, putFiles, takeFiles, writeAll } from './files.js';

/** A program that has to be run, with its arguments. */
export type Step = readonly string[];

export interface InstallPlan {
  readonly files: readonly PlannedFile[];
  /** Files of the user that get lines of ours. */
  readonly edits?: readonly PlannedEdit[];
  /** Directories that only we use: removed when they are empty. The innermost first. */
  readonly directories?: readonly string[];
  /** Run after the files were written. */
  readonly installed?: readonly Step[];
  /** Run before the files are removed; one that fails is only told. */
  readonly removing?: readonly Step[];
  /** Run after the files were removed. */
  readonly removed?: readonly Step[];
  /** What is left for the user to do after an installation. */
  readonly notes?: readonly string[];
}

export interface Target<F extends Flags = Flags> {
  /** The word: `service`. Small letters, digits and hyphens. */
  readonly name: string;
  /** What for, one line: "Run the host as a unit of systemd". */
  readonly about: string;
  readonly flags: F;
  /** Asked by both commands. Throws UserError where the program cannot be set up. Changes nothing. */
  plan(values: Values<F>): InstallPlan | Promise<InstallPlan>;
  /** Asked before anything is removed; throws UserError when that must not be done now. */
  mayGo?(values: Values<F>): void | Promise<void>;
}

/** Types a target's `plan` by its flags, and forgets that type. */
export const target = <const F extends Flags>(spec: Target<F>): Target => spec;

const OWN_FLAGS = {
  'dry-run': { kind: 'bool', short: 'n', help: 'Write nothing; print the files with their paths' },
  destdir: {
    kind: 'string',
    value: 'DIR',
    help: 'Write beneath DIR instead of /, and run nothing (for who makes packages)',
  },
} as const satisfies Flags;

/** The two commands of a target. */
export const installCommand = (spec: Target): Command => make(spec, 'install', install);
export const uninstallCommand = (spec: Target): Command => make(spec, 'uninstall', uninstall);

interface Run {
  readonly name: string;
  readonly plan: InstallPlan;
  readonly dryRun: boolean;
  /** Undefined: the machine itself. */
  readonly destdir: string | undefined;
}

function make(spec: Target, word: string, act: (run: Run) => number): Command {
  return command({
    usage: `${word} ${spec.name} [OPTIONS]`,
    about: word === 'install' ? spec.about : `Undo: ${spec.about}`,
    flags: { ...OWN_FLAGS, ...spec.flags },
    args: [0, 0],
    plain: true,
    async run({ values }) {
      const own = values as unknown as Values<typeof OWN_FLAGS>;
      const { destdir } = own;
      const plan = await spec.plan(values);
      if (word === 'uninstall' && destdir === undefined) await spec.mayGo?.(values);
      return act({
        name: spec.name,
        plan: destdir === undefined ? plan : beneath(destdir, plan),
        dryRun: own['dry-run'],
        destdir,
      });
    },
  });
}

function beneath(destdir: string, plan: InstallPlan): InstallPlan {
  return {
    files: plan.files.map((file) => ({ ...file, path: join(destdir, file.path) })),
    edits: plan.edits?.map((edit) => ({ ...edit, path: join(destdir, edit.path) })),
    directories: plan.directories?.map((path) => join(destdir, path)),
  } as InstallPlan;
}

const shown = (step: Step): string => `# then: ${step.join(' ')}\n`;

function install({ name, plan, dryRun }: Run): number {
  const { files, edits = [], installed = [], notes = [] } = plan;
  const changes = edits.map((edit) => edited(name, edit));
  if (dryRun) {
    for (const file of files) {
      print(`# ${file.path} (${(file.mode ?? 0o644).toString(8).padStart(4, '0')})\n`);
      print(`${marked(name, file).replace(/\n?$/, '\n')}\n`);
    }
    for (const { edit, before } of changes) {
      print(
        `# ${edit.path}, ${before === undefined ? 'which is not there' : 'to what is there'}\n`,
      );
      print(`${edit.lines.trim()}\n\n`);
    }
    print(installed.map(shown).join(''));
    return 0;
  }
  const writes = changes.flatMap((change) => writesOf(name, change));
  putFiles(name, files, writes);
  for (const { path } of files) print(`wrote ${path}\n`);
  for (const { edit } of changes) print(`changed ${edit.path}\n`);
  const status = runSteps(installed);
  for (const note of notes) say(note);
  return status;
}

function uninstall({ name, plan, dryRun }: Run): number {
  const { files, edits = [], directories, removing = [], removed = [] } = plan;
  if (dryRun) {
    print(removing.map(shown).join(''));
    for (const { path } of files) print(`# remove ${path}, if it is unchanged\n`);
    for (const { path } of edits) print(`# put back ${path}, if it is unchanged\n`);
    print(removed.map(shown).join(''));
    return 0;
  }
  runSteps(removing);
  const left = takeEdits(name, edits);
  left.push(...takeFiles(name, files, directories));
  for (const sentence of left) say(`stratafs: ${sentence}`);
  return Math.max(runSteps(removed), left.length > 0 ? 1 : 0);
}

/** Puts back what the user had; a sentence for each file that stays. */
function takeEdits(name: string, edits: readonly PlannedEdit[]): string[] {
  const left: string[] = [];
  const undos: Undo[] = [];
  for (const edit of edits) {
    const undo = undone(name, edit);
    if (typeof undo === 'string') left.push(undo);
    else if (undo !== undefined) undos.push(undo);
  }
  writeAll(undos.flatMap(({ write }) => (write === undefined ? [] : [write])));
  undos.forEach(forget);
  return left;
}

/** Runs them all; 1 when one failed, which is told. */
function runSteps(steps: readonly Step[]): number {
  let status = 0;
  for (const [file, ...args] of steps) {
    const ran = spawnSync(file, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
    if (ran.status === 0) continue;
    status = 1;
    const why = ran.error ? ran.error.message : ran.stderr.trim().split('\n').join('; ');
    say(`stratafs: ${[file, ...args].join(' ')} failed: ${why}`);
  }
  return status;
}

/** The absolute home of this user; throws UserError without one. */
function home(): string {
  const path = process.env['HOME'] ?? '';
  if (!path.startsWith('/')) throw new UserError('HOME is not set to an absolute path: set it');
  return path;
}

/** XDG_CONFIG_HOME, or ~/.config. */
export function configHome(): string {
  const set = process.env['XDG_CONFIG_HOME'] ?? '';
  return set.startsWith('/') ? set : join(home(), '.config');
}
