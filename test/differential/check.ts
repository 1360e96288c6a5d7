/** One random sequence on two drivers: made from its seed, compared, made small when they differ. */
import { type Difference, type Pair, compare } from './compare.js';
import { someLayers } from './layers.js';
import { someOperations } from './makers.js';
import type { Features } from '../support/mount.js';
import { showOperation } from './operations.js';
import { Random } from './random.js';
import { type Case, shrink } from './shrink.js';

export interface Finding {
  /** The smallest case that still shows a difference of the same kind, and what differs in it. */
  readonly small: Case;
  readonly differences: readonly Difference[];
}

/**
 * The layers and at least `length` operations that a seed stands for. Without the index a hard link
 * of a layer breaks when it is copied up, so there few layers have any.
 */
export function caseOf(seed: number, length: number, features: Features): Case {
  const random = new Random(seed);
  const indexed = features === 'full' || features === 'defaults';
  const layers = someLayers(random, indexed ? 'kept' : seed % 5 === 0 ? 'broken' : 'none');
  return { layers, operations: someOperations(random, layers.seen, length) };
}

export function showCase({ layers, operations }: Case, found: readonly Difference[]): string {
  const entries = [...layers.lowers, layers.upper].map((layer, index) => {
    const name = index < layers.lowers.length ? `lower ${index}` : 'upper';
    return `${name}:\n${layer.map((entry) => `    ${JSON.stringify(entry)}`).join('\n')}`;
  });
  return [
    ...found.slice(0, 12).map((difference) => `${difference.where}: ${difference.text}`),
    ...entries,
    'operations:',
    ...operations.map((operation) => `    ${showOperation(operation)}`),
  ].join('\n');
}

/** What differs; a mount that hangs or dies is a difference too. */
async function differencesOf(pair: Pair, start: Case): Promise<readonly Difference[]> {
  try {
    return await compare(pair, start.layers, start.operations);
  } catch (error) {
    return [{ where: 'error', text: error instanceof Error ? error.message : String(error) }];
  }
}

/**
 * Whether a candidate differs as the case it was made from. One that cannot be built (an entry
 * without its parent) fails with another error, and so does not.
 */
async function failsAs(pair: Pair, candidate: Case, first: Difference): Promise<boolean> {
  const found = await differencesOf(pair, candidate);
  if (first.where === 'error') return found.at(0)?.text === first.text;
  return found.some((difference) => difference.where === first.where);
}

/** A mount that hung may hang again, each time as long as its deadline: such a case stays as it is. */
const ENDED = 'the client ended';

/** Undefined when the drivers agree. Making the case small takes at most `seconds`. */
export async function check(
  pair: Pair,
  start: Case,
  seconds: number,
): Promise<Finding | undefined> {
  const differences = await differencesOf(pair, start);
  const first = differences.at(0);
  if (first === undefined) return undefined;
  if (first.where === 'error' && !first.text.startsWith(ENDED))
    return { small: start, differences };
  const small = await shrink(start, (candidate) => failsAs(pair, candidate, first), seconds);
  return { small, differences: await differencesOf(pair, small) };
}
