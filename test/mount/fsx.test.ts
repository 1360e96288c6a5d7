import { describe, expect, test } from 'vitest';
import { decodeWord } from '../support/client.js';
import { DRIVER, MOUNT_NEEDS, type Parts, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { file } from '../support/tree.js';

/** Flags of the client's fsx. */
const MAPPED = 1;
const DROP_CACHES = 2;
/** Reads also through a descriptor opened before the first change; kernel overlayfs cannot. */
const EARLY = DRIVER === 'kernel' ? 0 : 4;

const STEPS = 2000;
const PARTS: Parts = {
  lowers: [[file('lower', { size: 100_000, seed: 7, hole: 60_000 }), file('small', 'few bytes')]],
  upper: [file('upper', { size: 100_000, seed: 8, hole: 60_000 })],
};
const MODES: readonly (readonly [string, readonly string[]])[] =
  DRIVER === 'stratafs'
    ? [
        ['with writeback', ['writeback=1']],
        ['without writeback', ['writeback=0']],
        ['passed through', ['data=passthrough']],
      ]
    : [['as it is', []]];

/**
 * An early descriptor follows the file, unless there is none because the file is new, or it has the
 * lower file itself.
 */
function early(path: string, options: readonly string[]): boolean {
  return path === 'upper' || (path !== 'new' && !options.includes('data=passthrough'));
}

describe.skipIf(!has(MOUNT_NEEDS))('random changes of one file lose and mix up no byte', () => {
  for (const [mode, options] of MODES)
    for (const path of ['lower', 'small', 'upper', 'new'])
      for (const flags of [EARLY, MAPPED | DROP_CACHES | EARLY]) {
        const title = `${path} file, ${(flags & MAPPED) === 0 ? 'not ' : ''}mapped, ${mode}`;
        test(title, async () => {
          const seed = path.length * 31 + flags + options.length;
          await withFixture(
            'fsx',
            PARTS,
            async (client) => {
              const now = early(path, options) ? flags : flags & ~4;
              const line = await client.line('fsx', [path, STEPS, seed, now], 110_000);
              expect(line.split(' ').slice(1).map(decodeWord), 'what failed, last steps').toEqual(
                [],
              );
            },
            options,
          );
        });
      }
});
