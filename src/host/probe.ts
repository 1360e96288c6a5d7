/**
 * Tests whether the paths of a mount answer, and on which file systems they are. A thread of its own asks
 * them before any other thread does, because the server of a file system may have stopped.
 */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { MountPlan } from '../options/plan.js';
import type { Native } from '../sys/native.js';
import { within } from './within.js';

/** How long a path may take: a disk that has to spin up does not take so long. */
const PATIENCE_MS = 15_000;

/**
 * f_type of file systems whose server is another process or machine (<linux/magic.h>, and what
 * statfs(2) lists): a request to them can take for ever.
 */
const REMOTE: ReadonlySet<number> = new Set([
  0x65735546, // fuse
  0x6969, // nfs
  0xff534d42, // cifs
  0xfe534d42, // smb2
  0x517b, // smb
  0x00c36400, // ceph
  0x01021997, // 9p
  0x5346414f, // afs (OpenAFS)
  0x6b414653, // afs
  0x73757245, // coda
  0x0bd00bd0, // lustre
  0x47504653, // gpfs
  0x19830326, // beegfs
  0x7461636f, // ocfs2
  0x01161970, // gfs2
  0x20030528, // orangefs
  0x786f4256, // vboxsf
  0xbacbacbc, // vmhgfs
  0x0187, // autofs
]);

export interface Probed {
  /** st_dev of every layer that is there, the upper and workdir included. */
  readonly devices: ReadonlySet<string>;
  /** st_dev of those whose file system another process or machine serves. */
  readonly remote: ReadonlySet<string>;
}

/** Throws UserError when a path of the plan does not answer. What is wrong with one is not said here. */
export async function probe(native: Native, plan: MountPlan): Promise<Probed> {
  const { lowers, dataLayers = [], upper, work } = plan.spec;
  const layers = [
    ...lowers.map((path) => ['lower layer', path] as const),
    ...dataLayers.map((path) => ['data-only layer', path] as const),
    ...(upper === undefined ? [] : [['upperdir', upper] as const]),
    ...(work === undefined ? [] : [['workdir', work] as const]),
  ];
  const target = plan.givenFd === undefined ? [['mount point', plan.mountpoint] as const] : [];
  const asked = [...layers, ...target];
  const progress = new Int32Array(1);
  const answer = await within(
    PATIENCE_MS,
    native.probePaths(
      asked.map(([, path]) => path),
      progress,
    ),
  );
  if (answer === undefined) {
    const [role, path] = asked[Math.min(progress[0], asked.length - 1)];
    throw new UserError(
      `${role} ${display(path)} does not answer: look at the server of its file system, or leave it out`,
    );
  }
  const [code, text] = answer;
  if (code < 0)
    throw new UserError(
      'no thread can be had to look at the layers: raise the limit on threads, or try again later',
    );
  return told(text.split('\n').slice(0, layers.length));
}

function told(lines: readonly string[]): Probed {
  const devices = new Set<string>();
  const remote = new Set<string>();
  for (const line of lines) {
    const [device, ...rest] = line.split(' ');
    // An errno alone: what is wrong is said by the checks.
    if (rest.length !== 3) continue;
    devices.add(device);
    if (REMOTE.has(Number(rest[2]))) remote.add(device);
  }
  return { devices, remote };
}
