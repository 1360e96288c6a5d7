/**
 * A process that serves mounts as the host does, of whose main thread's system calls one can be made to fail:
 * `node faultyHost.mjs DIST`. A line on stdin is a JSON command, a line on stdout its answer:
 * { mount: "OPTIONS", at: MNT, fail: N, lasting: BOOL, fallback: BOOL } -> { calls: [name ...], live, error? }
 * where the N-th call fails (0: none), or all from it on; `fallback`: without fsmount(2).
 * { live: true } -> { live }.
 */
import { createInterface } from 'node:readline';

const dist = process.argv[2];
const { loadNative } = await import(`${dist}/sys/native.js`);
const { Mounts } = await import(`${dist}/host/mounts.js`);
const { planMount } = await import(`${dist}/options/plan.js`);

const [EIO, ENOSYS] = [5, 38];
const NOW = ['openat2', 'createMount', 'statx'];
const LATER = ['attachMount', 'mountPath', 'unmountPath', 'lockPath', 'syncPath'];
const PAIRS = ['programMount', 'programUnmount', 'probePaths'];

let calls = [];
let command = {};

function fails(name) {
  calls.push(name);
  const { fail = 0, lasting = false } = command;
  return fail > 0 && (lasting ? calls.length >= fail : calls.length === fail);
}

function wrap(name, call) {
  if (NOW.includes(name)) {
    return (...args) => {
      if (name === 'createMount' && command.fallback) return -ENOSYS;
      return fails(name) ? -EIO : call(...args);
    };
  }
  if (LATER.includes(name)) return async (...args) => (fails(name) ? -EIO : call(...args));
  if (PAIRS.includes(name)) return async (...args) => (fails(name) ? [-EIO, ''] : call(...args));
  return call;
}

const real = loadNative();
const native = Object.fromEntries(Object.keys(real).map((name) => [name, wrap(name, real[name])]));
const self = { pid: process.pid, version: '', build: '', path: '', namespace: '' };
const log = (line) => process.stderr.write(`${line}\n`);
const mounts = new Mounts(native, self, () => undefined, log);

async function mount({ mount: options, at }) {
  calls = [];
  const answer = {};
  try {
    await mounts.mount(planMount([options], { cwd: '/', privileged: true, mountpoint: at }));
  } catch (error) {
    answer.error = error.message;
  }
  return { ...answer, calls };
}

for await (const line of createInterface({ input: process.stdin })) {
  command = JSON.parse(line);
  const answer = 'mount' in command ? await mount(command) : {};
  command = {};
  process.stdout.write(`${JSON.stringify({ ...answer, live: mounts.size })}\n`);
}
await mounts.unmountAll();
real.exitNow(0);
