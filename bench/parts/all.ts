/** The trees that some trials need beside the fixture, made when the first trial needs them. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { missingProgram } from '../machine.js';
import type { Part, PartSite, Trial } from '../types.js';
import { debian } from './debian.js';
import { npm } from './npm.js';
import { git, programs, project } from './programs.js';
import { huge, layers, many } from './scale.js';
import { sizes } from './sizes.js';

const parts: readonly Part[] = [programs, git, project, npm, debian, many, layers, huge, sizes];

export interface Parts {
  /** Part name → its directory. */
  readonly homes: Readonly<Record<string, string>>;
  /** Part name → why it could not be made. */
  readonly failures: ReadonlyMap<string, string>;
}

/** Makes one part in `home` unless it is there, whole and of this recipe. */
function prepare(part: Part, home: string, site: PartSite, say: (text: string) => void): void {
  const stamp = join(home, 'made');
  if (existsSync(stamp)) return;
  const missing = missingProgram(part.programs ?? []);
  if (missing !== undefined) throw new Error(missing);
  say(`making ${home} (once)`);
  rmSync(home, { recursive: true, force: true });
  // The name that tells that a mount is live.
  mkdirSync(join(home, 'layer/share'), { recursive: true });
  part.make(home, site);
  writeFileSync(stamp, '');
}

/** The parts that `trials` name, below `directory`. One that cannot be made fails its trials only. */
export function prepareParts(
  directory: string,
  trials: readonly Trial[],
  site: PartSite,
  say: (text: string) => void,
): Parts {
  const wanted = new Set(trials.flatMap((trial) => trial.parts ?? []));
  const homes: Record<string, string> = {};
  const failures = new Map<string, string>();
  for (const part of parts.filter(({ name }) => wanted.has(name))) {
    const size = site.quick ? 'quick' : 'full';
    const home = join(directory, `part-${part.name}-${part.recipe}-${size}`);
    try {
      prepare(part, home, site, say);
      homes[part.name] = home;
    } catch (error) {
      failures.set(part.name, (error as Error).message);
    }
  }
  return { homes, failures };
}
