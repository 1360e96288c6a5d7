/** The two files that start an engine thread: hostStart.cts must not load a module for it. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

function limits(file: string): string | undefined {
  const source = readFileSync(new URL(`../../../src/host/${file}`, import.meta.url), 'utf8');
  return /^const LIMITS = (.*);$/m.exec(source)?.[1];
}

it('give it the same limits', () => {
  expect(limits('hostStart.cts')).toMatch(/^\{ .* \}$/);
  expect(limits('hostStart.cts')).toBe(limits('engineEntry.ts'));
});
