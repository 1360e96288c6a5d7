/** `stratafs logs`: what the hosts of this user have logged, the ended ones too. */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { place } from '../wire/sockets.js';
import { command } from './frame/command.js';
import { printBytes, say } from './frame/output.js';

const STEP_MS = 300;

/** Prints what a log has from `from` on; returns how far it was read. One that was cut starts again. */
function printFrom(path: string, from: number): number {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    let at = size < from ? 0 : from;
    const part = Buffer.alloc(65_536);
    while (at < size) {
      const read = readSync(file, part, 0, Math.min(part.length, size - at), at);
      if (read === 0) break;
      printBytes(part.subarray(0, read));
      at += read;
    }
    return at;
  } finally {
    closeSync(file);
  }
}

/** Logs of this mount namespace, the one that was written last at the end. */
function logFiles(): string[] {
  const { directory, prefix } = place();
  return readdirSync(directory)
    .filter((name) => name.startsWith(`${prefix}-`) && name.endsWith('.log'))
    .map((name) => join(directory, name))
    .map((path) => ({ path, time: statSync(path).mtimeMs }))
    .sort((a, b) => a.time - b.time)
    .map(({ path }) => path);
}

/** What a host of systemd's says is in the journal. Resolves when it is printed, or followed. */
async function journal(follow: boolean): Promise<void> {
  const user = process.geteuid?.() === 0 ? [] : ['--user'];
  const args = [...user, '-u', 'stratafs.service', '--no-pager', '-q', '-o', 'short-iso'];
  const child = spawn('journalctl', follow ? [...args, '-f'] : args, {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const ended = once(child, 'exit').catch((error: unknown) => {
    say(`stratafs: the log of the host that systemd runs cannot be read: ${String(error)}`);
  });
  if (!follow) await ended;
}

/** Resolves with the exit status; with `follow` it never does. */
export async function runLogs(follow: boolean): Promise<number> {
  const unit = existsSync(`${place().directory}/unit.sock`);
  if (unit) await journal(follow);
  const read = new Map<string, number>();
  for (;;) {
    for (const path of logFiles()) read.set(path, printFrom(path, read.get(path) ?? 0));
    if (!follow) return 0;
    await sleep(STEP_MS);
  }
}

export const logs = command({
  usage: 'logs [OPTIONS]',
  about: 'Show what hosts have logged, also those that have ended',
  flags: { follow: { kind: 'bool', short: 'f', help: 'Go on with what they log from now on' } },
  args: [0, 0],
  plain: true,
  run: ({ values }) => runLogs(values.follow),
});
