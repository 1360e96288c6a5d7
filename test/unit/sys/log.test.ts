import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REPOSITORY } from '../../support/root.js';

/** What a process that runs `body`, with the log's functions, leaves in its log. */
function logged(body: string): { readonly size: number; readonly text: string } {
  const path = join(mkdtempSync(join(tmpdir(), 'stratafs-log-')), 'log');
  const fd = openSync(path, 'a+');
  const module = join(REPOSITORY, 'dist/sys/log.js');
  const script = `import { log, writeLine } from ${JSON.stringify(module)};\n${body}`;
  execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', fd],
    timeout: 20_000,
  });
  closeSync(fd);
  return { size: statSync(path).size, text: readFileSync(path, 'latin1') };
}

test('many lines of one minute are left out, and that is said', () => {
  const { text } = logged('for (let i = 0; i < 5000; i++) log("line " + i);');
  const lines = text.trim().split('\n');
  expect(lines).toHaveLength(101);
  expect(lines[99]).toBe('stratafs: line 99');
  expect(lines[100]).toContain('too many lines');
});

test('long lines do not fill the disk: the file is cut down to its end', () => {
  const { size, text } = logged(
    'for (let i = 0; i < 3000; i++) writeLine(i + " " + "x".repeat(4000));',
  );
  expect(size).toBeLessThanOrEqual((1 << 20) + (128 << 10));
  expect(text.split('\n').at(-2)).toMatch(/^2999 x+$/);
  expect(text).toMatch(/^\d+ x/);
});
