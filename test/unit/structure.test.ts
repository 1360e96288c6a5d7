/** What docs/structure.md says stays 0, counted by test/support/structure.mjs. */
import { describe, expect, it } from 'vitest';
import { circles, unusedExports } from '../support/structure.mjs';

describe('src', () => {
  it('exports nothing that no other file uses', () => {
    expect(unusedExports()).toEqual([]);
  });

  it('has no circle of imports', () => {
    expect(circles()).toEqual([]);
  });
});
