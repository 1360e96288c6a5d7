/** WORKDIR: the directory is made when the image has not got it. */
import { posix } from 'node:path';
import { mkdirSync } from 'node:fs';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { makeLayer } from '../layers/make.js';
import { newId } from '../state/ids.js';
import { Below } from './below.js';
import { CopyPlan } from './copyPlan.js';
import type { BuildScope, StageScope } from './scope.js';
import type { Instruction } from './parse/dockerfile.js';

/** An absolute path, from the working directory; as text. */
export const absoluteIn = (run: StageScope, path: string): string =>
  posix.resolve('/', run.settings.config.WorkingDir || '/', path);

/** A new empty directory of the build; latin1. */
export function emptyDirectory({ lease }: BuildScope): string {
  const path = `${lease.directory}/${newId().slice(0, 16)}`;
  mkdirSync(bytes(path), 0o755);
  return path;
}

export async function workdirStep(run: StageScope, instruction: Instruction): Promise<void> {
  if (instruction.flags.length > 0) {
    throw new UserError(`WORKDIR has no flag --${instruction.flags[0].name}`);
  }
  const { build, settings } = run;
  const said = run.expand(instruction.args).trim();
  if (said === '') throw new UserError('WORKDIR requires exactly one argument');
  const path = absoluteIn(run, said);
  settings.config.WorkingDir = path;
  const below = new Below(run.trees);
  try {
    const place = below.find(toLatin1(path));
    if (place.isFile) throw new UserError(`WORKDIR: ${path} is a file in the image`);
    if (place.names.length === 0 || place.parts.at(-1)) {
      build.options.progress.begin(run.nextStep(`WORKDIR ${instruction.args}`)).done();
      run.note(`WORKDIR ${path}`, true);
      return;
    }
    await run.step(`WORKDIR ${instruction.args}`, ['WORKDIR', path], async () => {
      const plan = new CopyPlan(below, emptyDirectory(build));
      plan.directory(place, { uid: 0, gid: 0 });
      return makeLayer(build.store, build.lease, run.layers, (sink) =>
        plan.pack(sink, build.packOptions),
      );
    });
    run.note(`WORKDIR ${path}`, false);
  } finally {
    below.close();
  }
}
