/** Finds what a test left behind: mounts below a directory, processes that still hold on to it. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits up to `patience` ms until nothing refers to `dir` any more; rejects with what still does. */
export async function expectNothingLeft(dir: string, patience = 20_000): Promise<void> {
  const deadline = performance.now() + patience;
  for (;;) {
    const found = await leftovers(dir);
    if (found.length === 0) return;
    if (performance.now() > deadline) {
      throw new Error(`still holding on to ${dir}:\n  ${found.slice(0, 20).join('\n  ')}`);
    }
    await sleep(50);
  }
}

/** One line for each mount below `dir` and each process that runs, sits or has a file open in it. */
async function leftovers(dir: string): Promise<string[]> {
  const found = mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), dir).map(
    (where) => `mount ${where}`,
  );
  const namespaces = new Set([await linkOf('/proc/self/ns/mnt')]);
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const why = (await holds(pid, dir)) ?? (await holdsByNamespace(pid, dir, namespaces));
    if (why !== undefined) found.push(`process ${pid} (${await commandLine(pid)}): ${why}`);
  }
  return found;
}

/** The mountpoints in a mountinfo text that are `dir` or lie below it, deepest first. */
export function mountsBelow(mountinfo: string, dir: string): string[] {
  const points = mountinfo
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => unescape(line.split(' ')[4] ?? ''));
  return points.filter((point) => within(point, dir)).reverse();
}

/** The number of the FUSE connection that serves `mountpoint`, as /sys/fs/fuse/connections has it. */
export async function connectionOf(mountpoint: string): Promise<number | undefined> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  const line = lines.findLast(
    (l) => unescape(l.split(' ')[4] ?? '') === mountpoint && l.includes(' - fuse'),
  );
  // The connection's number is the minor of the mount's anonymous device.
  return line === undefined ? undefined : Number(line.split(' ')[2]?.split(':')[1]);
}

async function holds(pid: string, dir: string): Promise<string | undefined> {
  for (const link of ['root', 'cwd', 'exe']) {
    const target = await linkOf(`/proc/${pid}/${link}`);
    if (target !== undefined && within(target, dir)) return `${link} is ${target}`;
  }
  if ((await commandLine(pid)).includes(dir)) return 'it names the directory';
  for (const fd of await list(`/proc/${pid}/fd`)) {
    const target = await linkOf(`/proc/${pid}/fd/${fd}`);
    if (target !== undefined && within(target, dir)) return `descriptor ${fd} is ${target}`;
  }
  return undefined;
}

/** A mount namespace made meanwhile has a copy of every mount; `seen` are those looked at already. */
async function holdsByNamespace(
  pid: string,
  dir: string,
  seen: Set<string | undefined>,
): Promise<string | undefined> {
  const namespace = await linkOf(`/proc/${pid}/ns/mnt`);
  if (seen.has(namespace)) return undefined;
  seen.add(namespace);
  const mountinfo = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
  return mountsBelow(mountinfo, dir).length > 0 ? 'its mount namespace has the mount' : undefined;
}

function within(path: string, dir: string): boolean {
  return path === dir || path.startsWith(`${dir}/`);
}

/** mountinfo writes space, tab, newline and backslash as three octal digits. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

async function commandLine(pid: string): Promise<string> {
  // A process may end while it is looked at: then it holds nothing.
  const text = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
  return text.replaceAll('\0', ' ').slice(0, 300);
}

async function linkOf(path: string): Promise<string | undefined> {
  return readlink(path).catch(() => undefined);
}

async function list(path: string): Promise<string[]> {
  return readdir(path).catch(() => []);
}
