/** Takes a failing sequence apart until no operation and no layer entry can be left out. */
import type { Layers } from './layers.js';
import type { Operation } from './operations.js';

export interface Case {
  readonly layers: Layers;
  readonly operations: readonly Operation[];
}

type Fails = (candidate: Case) => Promise<boolean>;

/** Drops ever smaller chunks of `items` while `fails` stays true; gives up at `deadline`. */
async function reduce<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  deadline: number,
): Promise<readonly T[]> {
  let kept = items;
  for (let chunk = Math.ceil(items.length / 2); chunk >= 1; chunk = chunk >> 1) {
    // From the end: later items lean on earlier ones, seldom the other way.
    for (let from = kept.length - chunk; from > -chunk; from -= chunk) {
      if (Date.now() > deadline) return kept;
      const fewer = [...kept.slice(0, Math.max(0, from)), ...kept.slice(from + chunk)];
      if (fewer.length < kept.length && (await fails(fewer))) kept = fewer;
    }
  }
  return kept;
}

export async function shrink(start: Case, fails: Fails, seconds: number): Promise<Case> {
  const deadline = Date.now() + seconds * 1000;
  let { layers } = start;
  const operations = await reduce(
    start.operations,
    (fewer) => fails({ layers, operations: fewer }),
    deadline,
  );
  const upper = await reduce(
    layers.upper,
    (fewer) => fails({ layers: { ...layers, upper: fewer }, operations }),
    deadline,
  );
  layers = { ...layers, upper };
  for (const index of layers.lowers.keys()) {
    const swap = (entries: Layers['upper']): Layers => ({
      ...layers,
      lowers: layers.lowers.map((old, i) => (i === index ? entries : old)),
    });
    const entries = await reduce(
      layers.lowers[index] ?? [],
      (fewer) => fails({ layers: swap(fewer), operations }),
      deadline,
    );
    layers = swap(entries);
  }
  return { layers, operations };
}
