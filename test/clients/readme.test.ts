import { readFile } from 'node:fs/promises';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { has, stratafsBinary } from '../support/needs.js';
import { run } from './support/run.js';
import { MOUNTS } from './support/union.js';

const ROOT = join(import.meta.dirname, '../..');

describe('the documents', () => {
  it.skipIf(!has(MOUNTS))('show thirty seconds of use that do what they say', async () => {
    const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
    const example = /```sh\n([^]*?)```/.exec(readme)?.[1] ?? '';
    const path = `${dirname(stratafsBinary())}:${process.env['PATH'] ?? ''}`;
    const { stdout } = await run('sh', ['-euc', example], { env: { ...process.env, PATH: path } });
    expect(stdout.split('\n').sort()).toEqual(['', 'C /file', 'D /other', 'from base']);
  });

  it('fit one page, and name documents that are there', async () => {
    const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
    expect(Buffer.byteLength(readme)).toBeLessThanOrEqual(9 * 1024);
    for (const page of [
      'README.md',
      ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`),
    ]) {
      const text = await readFile(join(ROOT, page), 'utf8');
      const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(
        ([, to]) => to,
      );
      const missing = links.filter((to) => !existsSync(join(ROOT, dirname(page), to)));
      expect([page, missing]).toEqual([page, []]);
    }
  });

  it.skipIf(!has(MOUNTS))('have an example of the library that runs as it says', async () => {
    const page = await readFile(join(ROOT, 'docs/library.md'), 'utf8');
    const example = /```js\n([^]*?)```/.exec(page)?.[1] ?? '';
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', example], {
      cwd: ROOT, // the package finds itself by its own name
    });
    expect(stdout.split('\n').sort()).toEqual(['', 'A /new', 'C /greeting', 'copy-ups: 1']);
  });
});
