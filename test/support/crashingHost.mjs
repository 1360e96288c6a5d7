/**
 * A process that serves mounts as the host does, and whose engine threads can be made to fail:
 * `node crashingHost.mjs DIST`. A line on stdin is a JSON command, a line on stdout its answer:
 * { mount: "OPTIONS", at: MNT } -> { thread } or { error }; { fail: thread, how: "throw" | "leave" }
 * -> { mounts: [mountpoint ...] } once the host has noticed.
 */
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const dist = process.argv[2];
const { loadNative } = await import(`${dist}/sys/native.js`);
const { Mounts } = await import(`${dist}/host/mounts.js`);
const { planMount } = await import(`${dist}/options/plan.js`);

/** Engine threads in the order of their start, with the descriptors that wake them. */
const threads = [];
let latest = -1;

process.on('worker', (worker) => {
  const thread = { worker, wakeFd: -1 };
  threads.push(thread);
  worker.on('message', (message) => {
    if (message.kind === 'ready') thread.wakeFd = message.wakeFd;
    if (message.kind === 'prepared') latest = threads.indexOf(thread);
  });
});

const native = loadNative();
const self = { pid: process.pid, version: '', build: '', path: '', namespace: '' };
const mounts = new Mounts(
  native,
  self,
  () => undefined,
  (line) => process.stderr.write(`${line}\n`),
);
const context = { cwd: '/', privileged: true };

async function mount(options, mountpoint) {
  // A spare thread is started a while after a mount; one that is still starting would be passed over.
  while (threads.length <= mounts.size && mounts.size < availableParallelism()) await sleep(10);
  while (threads.some(({ wakeFd }) => wakeFd < 0)) await sleep(10);
  await mounts.mount(planMount([options], { ...context, mountpoint }));
  return { thread: latest };
}

async function fail(index, how) {
  const { worker, wakeFd } = threads[index];
  const before = mounts.size;
  if (how === 'leave') await worker.terminate();
  else {
    // No message of ours: taking it apart throws.
    worker.postMessage(null);
    native.wake(wakeFd);
  }
  while (mounts.size === before) await sleep(10);
  return { mounts: mounts.list().map(({ mountpoint }) => mountpoint) };
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer =
      'mount' in command
        ? await mount(command.mount, command.at)
        : await fail(command.fail, command.how);
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await mounts.unmountAll();
native.exitNow(0);
