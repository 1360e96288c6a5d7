/** config.json of a container, from its manifest and its mounted root. */
import { readFileSync, writeFileSync } from 'node:fs';
import { hostname as machineName } from 'node:os';
import { UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import type { Store } from '../state/store.js';
import { capabilitiesOf } from './capabilities.js';
import { type EtcInput, hostsFile, resolvFile } from './etcFiles.js';
import { devicesOf, resourcesOf, rlimitsOf } from './limits.js';
import { ociMounts } from './mounts.js';
import type { Addresses } from './network.js';
import type { OciMount } from './oci.js';
import { bundleOf, type ContainerManifest, directoryOf } from './records.js';
import { findProgram } from './runtime.js';
import { seccompFilter } from './seccomp.js';
import { boundingSet, makeSpec, type SpecInput } from './spec.js';
import { cgroupOf } from './step.js';
import { resolveUser } from './users.js';

/** Docker's, for an image that says nothing. */
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const INIT = '/dev/init';

/** Programs that are no more than an init, linked whole. */
const INITS = ['tini-static', 'catatonit', '/usr/libexec/podman/catatonit', 'docker-init'];

function initProgram(): string {
  const found = INITS.map(findProgram).find((path) => path !== undefined);
  if (found !== undefined) return found;
  throw new UserError('--init needs tini or catatonit: apt-get install tini');
}

const hostnameOf = ({ config, host }: ContainerManifest): string =>
  config.Hostname !== '' ? config.Hostname : host.NetworkMode === 'host' ? machineName() : '';

/** The environment of a process; what the image and the user say goes before what is usual. */
export function environmentOf(container: ContainerManifest, home: string, tty: boolean): string[] {
  const given = new Set(container.config.Env.map((each) => each.slice(0, each.indexOf('='))));
  const usual = [PATH, `HOSTNAME=${hostnameOf(container)}`];
  if (tty) usual.push('TERM=xterm');
  const own = usual.filter((each) => !given.has(each.slice(0, each.indexOf('='))));
  return [...own, ...container.config.Env, ...(given.has('HOME') ? [] : [`HOME=${home}`])];
}

/** `--security-opt`: what it says of seccomp, and whether no new privileges can be had. */
function securityOf({ host }: ContainerManifest): { seccomp: string; noNew: boolean } {
  let [seccomp, noNew] = ['default', false];
  for (const option of host.SecurityOpt) {
    const [, key, value = 'true'] = /^([^=:]+)[=:]?(.*)$/.exec(option) ?? [];
    if (key === 'seccomp') seccomp = value;
    else if (key === 'no-new-privileges') noNew = value !== 'false';
    else throw new UserError(`--security-opt ${option} is not known: seccomp=, no-new-privileges`);
  }
  return { seccomp, noNew };
}

/** What a process of the container may do, and as whom; `user` '' for the container's own. */
export function processInput(
  container: ContainerManifest,
  rootfs: string,
  user = container.config.User ?? '',
  privileged = container.host.Privileged,
): Pick<SpecInput, 'user' | 'capabilities' | 'seccomp' | 'noNewPrivileges' | 'privileged'> {
  const { host } = container;
  const capabilities = capabilitiesOf({
    add: host.CapAdd,
    drop: host.CapDrop,
    privileged,
    bounding: boundingSet(),
  });
  const { seccomp, noNew } = securityOf(container);
  return {
    user: resolveUser(rootfs, user, host.GroupAdd),
    capabilities,
    seccomp: privileged ? undefined : seccompFilter(capabilities, seccomp),
    noNewPrivileges: noNew,
    privileged,
  };
}

/** Names of the files that engines write, by their place in the container. */
const ETC = {
  '/etc/hosts': 'hosts',
  '/etc/hostname': 'hostname',
  '/etc/resolv.conf': 'resolv.conf',
} as const;

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
}

/** Those of the three files that differ from what we wrote last: changed by hand. */
export function changedEtcFiles(store: Store, id: string): string[] {
  const directory = directoryOf(store, id);
  return Object.entries(ETC)
    .filter(([, name]) => {
      const given = readOptional(`${directory}/${name}.given`);
      return given !== undefined && readOptional(`${directory}/${name}`) !== given;
    })
    .map(([path]) => path);
}

/** Writes the three files, but those that were changed by hand, and mounts them. */
function etcMounts(store: Store, container: ContainerManifest, input: EtcInput): OciMount[] {
  const directory = directoryOf(store, container.id);
  const texts = {
    '/etc/hosts': hostsFile(input),
    '/etc/hostname': `${input.hostname}\n`,
    '/etc/resolv.conf': resolvFile(input),
  };
  const changed = changedEtcFiles(store, container.id);
  const taken = new Set(container.mounts.map(({ Destination }) => Destination));
  return (Object.keys(ETC) as (keyof typeof ETC)[])
    .filter((path) => !taken.has(path))
    .map((path) => {
      const source = `${directory}/${ETC[path]}`;
      if (!changed.includes(path)) {
        writeFileSync(source, texts[path], { mode: 0o644 });
        writeFileSync(`${source}.given`, texts[path], { mode: 0o644 });
      }
      const options = ['rbind', 'rprivate', 'rw'];
      return { destination: path, type: 'bind', source, options };
    });
}

/** Writes config.json for a start of the container. Throws UserError. */
export function writeBundle(
  store: Store,
  container: ContainerManifest,
  rootfs: string,
  addresses: Addresses,
): void {
  const { id, config, host } = container;
  const hostname = hostnameOf(container);
  const args = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (args.length === 0) throw new UserError('No command specified');
  const process = processInput(container, rootfs);
  const etc: EtcInput = {
    network: host.NetworkMode,
    hostname,
    addHosts: host.ExtraHosts,
    dns: host.Dns,
    dnsSearch: host.DnsSearch,
    dnsOptions: host.DnsOptions,
    ...addresses,
  };
  const init: OciMount[] = host.Init
    ? [{ destination: INIT, type: 'bind', source: initProgram(), options: ['bind', 'ro'] }]
    : [];
  const spec = makeSpec({
    ...process,
    rootfs,
    args: host.Init ? [INIT, '--', ...args] : args,
    env: environmentOf(container, process.user.home, config.Tty),
    cwd: config.WorkingDir || '/',
    network: host.NetworkMode,
    terminal: config.Tty,
    readOnly: host.ReadonlyRootfs,
    hostname,
    mounts: [...etcMounts(store, container, etc), ...init, ...ociMounts(container)],
    pidHost: host.PidMode === 'host',
    ipcHost: host.IpcMode === 'host',
    ...(host.ShmSize > 0 ? { shmSize: host.ShmSize } : {}),
    resources: resourcesOf(host),
    devices: devicesOf(host.Devices),
    rlimits: rlimitsOf(host.Ulimits),
    sysctl: host.Sysctls,
    ...(host.OomScoreAdj === 0 ? {} : { oomScoreAdj: host.OomScoreAdj }),
    cgroup: cgroupOf(id),
  });
  writeFileSync(`${bundleOf(store, id)}/config.json`, JSON.stringify(spec));
}
