/**
 * Replay files: a case and the mode it failed in, as JSON. Names and data are latin1 strings, one
 * character a byte. `npm test` runs every file in replays/ as a regression.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Features, isFeatures } from '../support/mount.js';
import { REPOSITORY } from '../support/root.js';
import type { Layers } from './layers.js';
import type { Operation } from './operations.js';
import type { Case } from './shrink.js';

export const REPLAYS = join(REPOSITORY, 'test/differential/replays');

export interface Replay {
  readonly features: Features;
  /** What differed when it was found. */
  readonly why: string;
  readonly case: Case;
}

interface Stored {
  readonly why: string;
  readonly mode: string;
  readonly countLinks: boolean;
  readonly lowers: Layers['lowers'];
  readonly upper: Layers['upper'];
  readonly operations: readonly Operation[];
}

/** One entry or operation a line. */
function lines(items: readonly unknown[], indent: string): string {
  if (items.length === 0) return '[]';
  return `[\n${items.map((item) => `${indent}  ${JSON.stringify(item)}`).join(',\n')}\n${indent}]`;
}

/** Writes REPLAYS/NAME.json; returns its path. */
export function writeReplay(name: string, replay: Replay): string {
  const { layers, operations } = replay.case;
  const lowers = layers.lowers.map((entries) => `    ${lines(entries, '    ')}`).join(',\n');
  const fields = [
    `"why": ${JSON.stringify(replay.why)}`,
    `"mode": ${JSON.stringify(replay.features)}`,
    `"countLinks": ${JSON.stringify(layers.countLinks)}`,
    `"lowers": [\n${lowers}\n  ]`,
    `"upper": ${lines(layers.upper, '  ')}`,
    `"operations": ${lines(operations, '  ')}`,
  ];
  mkdirSync(REPLAYS, { recursive: true });
  const path = join(REPLAYS, `${name}.json`);
  writeFileSync(path, `{\n${fields.map((field) => `  ${field}`).join(',\n')}\n}\n`);
  return path;
}

/** Throws with one sentence when the file is no replay. */
export function readReplay(path: string): Replay {
  let stored: Partial<Stored>;
  try {
    stored = JSON.parse(readFileSync(path, 'utf8')) as Partial<Stored>;
  } catch (error) {
    throw new Error(`cannot read the replay ${path}: ${(error as Error).message}`);
  }
  const { why = '', mode = '', countLinks = true, lowers, upper, operations } = stored;
  if (!isFeatures(mode) || !lowers || !upper || !operations)
    throw new Error(`${path} is no replay: it needs mode, lowers, upper and operations`);
  const layers = { lowers, upper, countLinks, seen: new Map<string, boolean>() };
  return { features: mode, why, case: { layers, operations } };
}
