import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { run } from './support/run.js';
import { MOUNTS } from './support/union.js';

const ROOT = join(import.meta.dirname, '../..');

describe('the README', () => {
  it.skipIf(!has(MOUNTS))('has an example of the library that runs as it says', async () => {
    const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
    const example = /```js\n([^]*?)```/.exec(readme)?.[1] ?? '';
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', example], {
      cwd: ROOT, // the package finds itself by its own name
    });
    expect(stdout.split('\n').sort()).toEqual(['', 'A /new', 'C /greeting', 'copy-ups: 1']);
  });
});
