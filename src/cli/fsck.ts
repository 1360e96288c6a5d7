/** `fsck`. */
import { endStaleBuilds } from '../store/builds/stale.js';
import { fsck } from '../store/mend/fsck.js';
import { openStore } from '../store/state/store.js';
import { command } from './frame/command.js';
import { print, say } from './frame/output.js';

/** fsck(8): 0 nothing was wrong, 1 everything was mended, 4 something is still wrong. */
const MENDED = 1;
const LEFT = 4;

export default command({
  usage: 'fsck [OPTIONS]',
  about:
    'Check the store and mend it. Exit status: 0 nothing was wrong, 1 all was mended, 4 something is left',
  args: [0, 0],
  flags: {
    deep: { kind: 'bool', help: 'Read every blob and every file of every layer' },
    'dry-run': { kind: 'bool', short: 'n', help: 'Find, and change nothing' },
    format: { kind: 'string', help: "'json': one line a finding" },
  },
  async run({ values, globals }) {
    const store = await openStore({ ...globals, create: false });
    if (!values['dry-run']) await endStaleBuilds(store);
    const findings = await fsck(store, {
      dryRun: values['dry-run'],
      deep: values.deep,
      ...(process.stderr.isTTY ? { onStep: (step: string) => say(`checking ${step}`) } : {}),
    });
    for (const { object, problem, mended } of findings) {
      const json = JSON.stringify({ Object: object, Problem: problem, Mended: mended ?? null });
      const text = `${object}: ${problem}${mended === undefined ? '' : `: ${mended}`}`;
      print(`${values.format === 'json' ? json : text}\n`);
    }
    if (findings.length === 0) {
      if (values.format !== 'json') print('the store is clean\n');
      return 0;
    }
    return findings.every(({ mended }) => mended !== undefined) ? MENDED : LEFT;
  },
});
