/**
 * One command run on a root file system, to its end, without a container of the store: what a step of a
 * build is. See src/store/README.md.
 */
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { newId } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { capabilitiesOf } from './capabilities.js';
import { hostsFile, resolvFile } from './etcFiles.js';
import type { OciMount } from './oci.js';
import type { Placeholder } from './rootfs.js';
import { runStep } from './runtime.js';
import { seccompFilter } from './seccomp.js';
import { boundingSet, makeSpec, type Network } from './spec.js';
import { resolveUser } from './users.js';

/** What every container has mounted besides its volumes: to be given to `makeRootfs`. */
export const PLACEHOLDERS: readonly Placeholder[] = [
  ...['/proc', '/sys', '/dev'].map((path): Placeholder => ({ path, kind: 'dir' })),
  ...['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'].map(
    (path): Placeholder => ({ path, kind: 'file' }),
  ),
];

/** Paths are UTF-8. */
interface Step {
  /** Its name for the runtime; one of its own when absent. */
  readonly id?: string;
  /** The mounted root, from `mountRootfs`. */
  readonly rootfs: string;
  /** An empty directory for config.json and the like. */
  readonly bundle: string;
  readonly args: readonly string[];
  /** `KEY=value` each. */
  readonly env: readonly string[];
  /** Made when it does not exist. */
  readonly cwd: string;
  /** `USER[:GROUP]`, '' for root. */
  readonly user: string;
  /** `none` or `host`. */
  readonly network: Exclude<Network, 'private'>;
  readonly mounts?: readonly OciMount[];
  readonly addHosts?: readonly string[];
  readonly capAdd?: readonly string[];
  readonly privileged?: boolean;
  readonly stdio?: StdioOptions;
  readonly started?: (child: ChildProcess) => void;
  readonly signal?: AbortSignal;
}

/** The bind mounts of the three files that engines write, made in `directory`. */
function etcMounts(directory: string, files: Readonly<Record<string, string>>): OciMount[] {
  return Object.entries(files).map(([destination, text]) => {
    const source = `${directory}/${destination.slice('/etc/'.length)}`;
    writeFileSync(source, text, { mode: 0o644 });
    const options = ['rbind', 'rprivate', 'rw'];
    return { destination, type: 'bind', source, options };
  });
}

/** Resolves with the exit status of the command; rejects with StartError when it cannot be started. */
export async function runCommand(store: Store, step: Step): Promise<number> {
  const { bundle, rootfs, network, privileged = false } = step;
  const id = step.id ?? newId();
  const hostname = id.slice(0, 12);
  const capabilities = capabilitiesOf({
    add: step.capAdd ?? [],
    drop: [],
    privileged,
    bounding: boundingSet(),
  });
  const etc = { network, hostname, addHosts: step.addHosts ?? [] };
  const names = { ...etc, dns: [], dnsSearch: [], dnsOptions: [] };
  const user = resolveUser(rootfs, step.user);
  const home = step.env.some((each) => each.startsWith('HOME=')) ? [] : [`HOME=${user.home}`];
  mkdirSync(bundle, { recursive: true });
  const spec = makeSpec({
    rootfs,
    args: step.args,
    env: [...step.env, ...home],
    cwd: step.cwd,
    user,
    capabilities,
    seccomp: privileged ? undefined : seccompFilter(capabilities),
    network,
    hostname,
    privileged,
    mounts: [
      ...etcMounts(bundle, {
        '/etc/hosts': hostsFile(names),
        '/etc/hostname': `${hostname}\n`,
        '/etc/resolv.conf': resolvFile(names),
      }),
      ...(step.mounts ?? []),
    ],
    cgroup: cgroupOf(id),
  });
  writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
  return runStep(store, {
    id,
    bundle,
    ...(step.stdio === undefined ? {} : { stdio: step.stdio }),
    ...(step.started === undefined ? {} : { started: step.started }),
    ...(step.signal === undefined ? {} : { signal: step.signal }),
  });
}

/** Below the root of every hierarchy. */
export const cgroupOf = (id: string): string => `/stratafs/${id}`;
