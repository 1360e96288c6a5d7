/** Capabilities (capabilities(7)) of a container: Docker's default set, more and less of it. */
import { UserError } from '../../base/errno.js';

/** What root in a container has by default (moby/daemon/pkg/oci/caps/defaults.go). */
const DEFAULT = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
] as const;

/** In the kernel's order: the bit is the index. */
const ALL: readonly string[] = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID'],
  ...['SETPCAP', 'LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW'],
  ...['IPC_LOCK', 'IPC_OWNER', 'SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT'],
  ...['SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE', 'SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD'],
  ...['LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP', 'MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG'],
  ...['WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF', 'CHECKPOINT_RESTORE'],
].map((name) => `CAP_${name}`);

const EVERY = 'ALL';

function normal(text: string): string {
  const upper = text.toUpperCase();
  if (upper === EVERY) return EVERY;
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!ALL.includes(name)) throw new UserError(`unknown capability: ${text}`);
  return name;
}

/** Those that a process whose CapBnd is `bounding` (hexadecimal) can pass on. */
const withinBounds = (names: readonly string[], bounding: string): string[] => {
  const bits = BigInt(`0x${bounding}`);
  return names.filter((name) => ((bits >> BigInt(ALL.indexOf(name))) & 1n) === 1n);
};

interface CapabilityOptions {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly privileged: boolean;
  /** CapBnd of this process, hexadecimal: none but these can be given. */
  readonly bounding: string;
}

/**
 * The capabilities that `--cap-add` and `--cap-drop` lead to. `ALL` is what this process can give; one
 * that it cannot give and that was named is a UserError.
 */
export function capabilitiesOf({ add, drop, privileged, bounding }: CapabilityOptions): string[] {
  const possible = withinBounds(ALL, bounding);
  if (privileged) return possible;
  const added = add.map(normal);
  const dropped = new Set(drop.map(normal));
  const missing = added.find((name) => name !== EVERY && !possible.includes(name));
  if (missing !== undefined) {
    throw new UserError(`${missing} cannot be given: this process has not got it itself`);
  }
  const base = dropped.has(EVERY) ? [] : added.includes(EVERY) ? possible : [...DEFAULT];
  const wanted = new Set([
    ...base,
    ...(dropped.has(EVERY) && added.includes(EVERY) ? possible : added),
  ]);
  return ALL.filter((name) => wanted.has(name) && !dropped.has(name) && possible.includes(name));
}

/** The name of a capability without its prefix, as seccomp profiles and Docker write it, and back. */
export const hasCapabilityName = (names: readonly string[], name: string): boolean =>
  names.includes(name.startsWith('CAP_') ? name : `CAP_${name}`);
