/** Runs programs for tests, never without a deadline. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import process from 'node:process';
import { inPlace, own } from './place.js';

export interface Ran {
  /** Exit status, or -1 when a signal ended it. */
  readonly code: number;
  /** latin1: one character a byte. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly timeoutMs?: number;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

/** Runs a program to its end; rejects only when it cannot be started or passes its deadline. */
export function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  return new Promise((resolve, reject) => {
    const child = spawn(...inPlace(file, args), {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${file} ${args.join(' ')} took more than ${timeoutMs} ms\n${stderr}`));
    }, timeoutMs);
    child.stdout.setEncoding('latin1').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('latin1').on('data', (text: string) => (stderr += text));
    child.stdin.on('error', () => {
      // The program ended without reading its input; its exit status tells whether that is wrong.
    });
    child.stdin.end(options.input ?? '', 'latin1');
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, stdout, stderr });
    });
  });
}

/** As `run`, and rejects when the exit status is not 0. */
export async function mustRun(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const ran = await run(file, args, options);
  if (ran.code !== 0)
    throw new Error(`${file} ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}${ran.stdout}`);
  return ran;
}

/** A fresh directory of this test run. */
export function scratch(name: string): string {
  const top = process.env['STRATAFS_TEST_DIR'] ?? join(tmpdir(), `stratafs-test-${process.pid}`);
  mkdirSync(top, { recursive: true });
  const dir = mkdtempSync(join(top, `${name}-`));
  own(dir);
  return dir;
}
