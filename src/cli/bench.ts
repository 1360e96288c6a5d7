/** `stratafs bench`: the programs of bench/, which are built beside this one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UserError } from '../base/errno.js';
import { command } from './frame/command.js';

const BENCH = fileURLToPath(new URL('../bench/index.js', import.meta.url));

/** Runs the bench with `args` (latin1); the result is its exit status. */
export async function runBench(args: readonly string[]): Promise<number> {
  if (!existsSync(BENCH)) throw new UserError(`there is no ${BENCH}: build it with npm install`);
  const texts = args.map((arg) => Buffer.from(arg, 'latin1').toString('utf8'));
  const child = spawn(process.execPath, [BENCH, ...texts], { stdio: 'inherit' });
  // A terminal's Ctrl-C reaches the child too, which then unmounts; what is sent to us, we hand on.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [status] = (await once(child, 'exit')) as [number | null];
  return status ?? 1;
}

/** The bench reads its own flags, `--help` too. */
export const bench = command({
  usage: 'bench [ARG...]',
  about: 'Compare drivers on this machine, yours too',
  flags: {},
  args: [0, Infinity],
  plain: true,
  verbatim: true,
  run: ({ rawArgs }) => runBench(rawArgs),
});
