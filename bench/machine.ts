/** What the figures depend on: the machine, the kernel, the versions. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
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
  /** Load averages of 1, 5 and 15 minutes, before the first trial. */
  readonly load: readonly number[];
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

/** The commit of a clone, with changes when it has some; the version of an installed package. */
function builtFrom(repository: string): string {
  const head = existsSync(join(repository, '.git'))
    ? ask(['git', 'rev-parse', '--short', 'HEAD'], repository)
    : undefined;
  if (head === undefined) {
    const manifest = readFileSync(join(repository, 'package.json'), 'utf8');
    return `version ${(JSON.parse(manifest) as { readonly version: string }).version}`;
  }
  const changed = ask(['git', 'status', '--porcelain', '-uno'], repository) ?? '';
  return `commit ${head}${changed === '' ? '' : ' with changes'}`;
}

export function describeMachine(
  repository: string,
  directory: string,
  drivers: readonly Driver[],
  load: readonly number[],
): Machine {
  const versions: Record<string, string> = {};
  for (const { name, version } of drivers) {
    if (version) versions[name] = versionLine(ask(version) ?? 'no version told');
  }
  return {
    when: new Date().toISOString(),
    commit: builtFrom(repository),
    kernel: ask(['uname', '-r']) ?? 'unknown',
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    fileSystem: ask(['findmnt', '-no', 'FSTYPE', '-T', directory]) ?? 'unknown',
    node: process.version,
    versions,
    load,
  };
}
