/** Commands that make a part. */
import { spawnSync } from 'node:child_process';

/** Runs a command; throws with its own words when it fails. Returns what it prints. */
export function run(
  command: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): string {
  const [program = '', ...args] = command;
  const result = spawnSync(program, args, {
    cwd: '/',
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    ...options,
  });
  if (result.error) throw new Error(`cannot run ${program}: ${result.error.message}`);
  if (result.status !== 0) {
    const words = result.stderr.trim().split('\n').slice(-2).join('; ');
    throw new Error(`${command.slice(0, 3).join(' ')} failed: ${words || 'it does not say why'}`);
  }
  return result.stdout;
}
