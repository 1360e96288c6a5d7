/**
 * The command line, for all but what the launcher does itself. Run by the launcher with the arguments
 * it got. Each command's module is loaded when it is called.
 */
import { readFileSync } from 'node:fs';
import { UserError } from '../base/errno.js';
import { sayError } from './frame/output.js';

/** The arguments as bytes (latin1): process.argv decodes them as UTF-8, which loses other names. */
function rawArguments(): string[] {
  const line = readFileSync('/proc/self/cmdline', 'latin1').split('\0');
  const count = process.argv.length - 2;
  return line.slice(line.length - 1 - count, -1);
}

async function run(args: readonly string[]): Promise<number> {
  const { commandOf } = await import('./words.js');
  const named = commandOf(args);
  if (named) return named();
  const { runMount } = await import('./mount.js');
  return runMount(args);
}

try {
  process.exitCode = await run(rawArguments());
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  sayError(error.message);
  process.exitCode = error.exit;
}
