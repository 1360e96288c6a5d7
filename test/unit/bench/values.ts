/** Results of a small imaginary run, for the tests of what is made of them. */
import type { Results } from '../../../bench/runner.js';
import type { Row, Trial } from '../../../bench/types.js';

export const noResults = (): Results => ({
  values: new Map(),
  reasons: new Map(),
  requests: new Map(),
  failures: [],
  seconds: new Map(),
});

/** `rows`: row id → driver → the values of its rounds. */
export function resultsOf(rows: Record<string, Record<string, number[]>>): Results {
  const results = noResults();
  for (const [row, drivers] of Object.entries(rows)) {
    const byDriver = new Map<string, Map<number, number>>();
    for (const [driver, values] of Object.entries(drivers)) {
      byDriver.set(driver, new Map(values.entries()));
    }
    results.values.set(row, byDriver);
  }
  return results;
}

export function trialOf(name: string, rows: Row[], rest: Partial<Trial> = {}): Trial {
  return { name, group: 'Reading', rows, run: () => ({}), ...rest };
}

export const row = (id: string, unit: Row['unit'] = 'ms'): Row => ({ id, title: `of ${id}`, unit });
