/**
 * Where the processes of a test run: here, or as root in the user namespace of an ordinary user
 * (`enterUserNamespace`). Each test file has one place, as vitest runs it in a worker of its own.
 */
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { REPOSITORY } from './root.js';

/** The ordinary user, and the IDs outside that are 1 and so on inside. */
const USER = 64_000;
const FIRST = 500_000;
const COUNT = 65_536;

let holder: number | undefined;

/** The command line that runs a program in the place. */
export function inPlace(file: string, args: readonly string[]): [string, string[]] {
  if (holder === undefined) return [file, [...args]];
  const enter = ['-t', String(holder), '-U', '-m', '-S', '0', '-G', '0', '--'];
  return ['nsenter', [...enter, file, ...args]];
}

/** The mount table of the place. */
export const mountTable = (): string =>
  readFileSync(`/proc/${holder ?? 'self'}/mountinfo`, 'latin1');

/** Makes a directory, and those above it that are missing, as the place's root. */
export function makeDir(path: string): string {
  const first = mkdirSync(path, { recursive: true });
  for (let at = path; first !== undefined && at.startsWith(first); at = dirname(at)) own(at);
  return path;
}

/** Gives a file to the place's root. */
export function own(path: string): void {
  if (holder !== undefined) chownSync(path, USER, USER);
}

/** The ID outside of an ID inside. */
export const outside = (id: number): number => (id === 0 ? USER : FIRST + id - 1);

/**
 * Makes the namespaces, with `binary` (the test client), and enters them; the result leaves and
 * ends them. /dev/fuse is opened to everybody meanwhile, as udev does it on ordinary machines.
 */
export async function enterUserNamespace(binary: string): Promise<() => void> {
  const mode = statSync('/dev/fuse').mode & 0o7777;
  chmodSync('/dev/fuse', 0o666);
  const ids = [String(USER), String(FIRST), String(COUNT)];
  const child = spawn(binary, ['--userns', ...ids, REPOSITORY], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  holder = await new Promise<number>((resolve, reject) => {
    child.stdout.on('data', (line: Buffer) => {
      resolve(Number(line.toString('latin1')));
    });
    child.on('error', reject);
    child.on('exit', (code) => {
      reject(new Error(`the namespaces cannot be made (${code})`));
    });
  });
  return () => {
    holder = undefined;
    child.stdin.end();
    chmodSync('/dev/fuse', mode);
  };
}
