/** What the figures depend on: the machine, the kernel, the versions. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import type { Driver } from './types.js';

export interface Machine {
  readonly when: string;
  readonly commit: string;
  readonly kernel: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly fileSystem: string;
  readonly node: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** The words of a command, or undefined when it cannot be run. */
function ask(command: readonly string[], cwd = '/'): string | undefined {
  const [program = '', ...args] = command;
  const result = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: 10_000 });
  return result.status === 0 ? `${result.stdout}${result.stderr}`.trim() : undefined;
}

/** The line of a version text that speaks of the program, not of the libraries it names too. */
function versionLine(text: string): string {
  const lines = text.split('\n').filter((line) => !/^(FUSE library|fusermount|using)/.test(line));
  return lines.find((line) => line.trim() !== '') ?? text;
}

/** The first of `programs` that is not here, as a sentence; undefined when all are. */
export function missingProgram(programs: readonly string[]): string | undefined {
  for (const program of programs) {
    if (ask(['sh', '-c', 'command -v "$1"', 'sh', program]) === undefined) {
      return `${program} is not installed`;
    }
  }
  return undefined;
}

/** Why a driver cannot be run here at all; undefined when it can. */
export function missing(driver: Driver): string | undefined {
  const { needs, command } = driver;
  if (needs && !existsSync(needs.file)) return needs.how;
  const program = command?.[0];
  return missingProgram(program === undefined ? [] : [program]);
}

export function describeMachine(
  repository: string,
  directory: string,
  drivers: readonly Driver[],
): Machine {
  const versions: Record<string, string> = {};
  for (const { name, version } of drivers) {
    if (version) versions[name] = versionLine(ask(version) ?? 'no version told');
  }
  const head = ask(['git', 'rev-parse', '--short', 'HEAD'], repository) ?? 'no commit';
  const changed = ask(['git', 'status', '--porcelain', '-uno'], repository);
  return {
    when: new Date().toISOString(),
    commit: changed ? `${head} with changes` : head,
    kernel: ask(['uname', '-r']) ?? 'unknown',
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    fileSystem: ask(['findmnt', '-no', 'FSTYPE', '-T', directory]) ?? 'unknown',
    node: process.version,
    versions,
  };
}
