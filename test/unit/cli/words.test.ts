import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WORDS } from '../../../src/cli/words.js';
import { REPOSITORY } from '../../support/root.js';

test('the launcher leaves to Node what are words of the store', () => {
  const header = readFileSync(join(REPOSITORY, 'native/launcher_words.h'), 'utf8');
  const list = header.slice(header.indexOf('kStoreWords[] = {'), header.indexOf('};'));
  const words = [...list.matchAll(/"([a-z-]+)"/g)].map(([, word]) => word);
  expect(words).toEqual(Object.keys(WORDS).sort());
});
