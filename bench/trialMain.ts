/**
 * A trial's process: one trial on one driver, once. The job comes as JSON in argv, the answer goes
 * as one JSON line to stdout. While it runs, `servers.json` in its directory names the processes
 * to end when it hangs.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { TrialContext } from './context.js';
import { unmountTree, type Room } from './mounts.js';
import { exercise } from './trials/exercise.js';
import { preflight } from './trials/preflight.js';
import { trials } from './trials/all.js';
import type { Answer, Job } from './types.js';

interface Entered {
  readonly room: Room;
  readonly leave: () => void;
}

/** The namespaces that the driver's mounts and clients live in; ours, unless it is rootless. */
async function enter({ client, driver }: Job): Promise<Entered> {
  if (driver.rootless !== true) {
    return { room: { client, enter: [], holder: 'self' }, leave: () => undefined };
  }
  const child = spawn(client, ['/', 'userns'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(() => {
    throw new Error('no user namespace can be made here');
  });
  const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer];
  ended.catch(() => undefined);
  const [holder = NaN] = JSON.parse(line.toString('latin1')) as number[];
  const command = ['nsenter', '-t', String(holder), '-U', '-m', '-S', '0', '-G', '0', '--'];
  return { room: { client, enter: command, holder }, leave: () => child.stdin.end() };
}

async function perform(job: Job): Promise<Answer> {
  const trial = [...trials, exercise, preflight].find(({ name }) => name === job.trial);
  if (!trial) throw new Error(`there is no trial ${job.trial}`);
  mkdirSync(job.directory, { recursive: true });
  const { room, leave } = await enter(job);
  const context = new TrialContext(job, room);
  let answer: Answer;
  try {
    answer = trial.run(context);
  } catch (error) {
    answer = { error: (error as Error).message };
  }
  for (const mounted of context.mounts.toReversed()) {
    try {
      await unmountTree(room, job.driver, mounted);
    } catch (error) {
      if (!('error' in answer)) answer = { error: (error as Error).message };
    }
  }
  leave();
  return answer;
}

let answer: Answer;
try {
  answer = await perform(JSON.parse(process.argv[2] ?? '') as Job);
} catch (error) {
  answer = { error: (error as Error).message };
}
process.stdout.write(`${JSON.stringify(answer)}\n`);
