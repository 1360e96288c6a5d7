/**
 * The default seccomp profile: that of containers-common, which podman and skopeo bring along, and which
 * is Docker's with ENOSYS for what is unknown. A profile has conditions (capabilities, architectures,
 * kernel); a runtime spec has none, so they are decided here.
 */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import { hasCapabilityName } from './capabilities.js';

const PLACES = ['/etc/containers/seccomp.json', '/usr/share/containers/seccomp.json'];

/** As profiles name this machine: in `arches` (Go's names), and in `archMap`. */
const ARCHITECTURES: Readonly<Record<string, readonly [string, string]>> = {
  x64: ['amd64', 'SCMP_ARCH_X86_64'],
  arm64: ['arm64', 'SCMP_ARCH_AARCH64'],
};

interface Condition {
  readonly caps?: readonly string[];
  readonly arches?: readonly string[];
  readonly minKernel?: string;
}

interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly object[] | null;
  readonly errnoRet?: number;
  readonly includes?: Condition | null;
  readonly excludes?: Condition | null;
}

interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly archMap?: readonly {
    readonly architecture: string;
    readonly subArchitectures?: readonly string[] | null;
  }[];
  readonly syscalls?: readonly Rule[];
}

function atLeast(kernel: string): boolean {
  const [major, minor] = release().split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = kernel.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function applies({ includes, excludes }: Rule, capabilities: readonly string[]): boolean {
  const [arch] = ARCHITECTURES[process.arch] ?? [''];
  const has = (name: string): boolean => hasCapabilityName(capabilities, name);
  const { arches = [], caps = [], minKernel } = includes ?? {};
  if (arches.length > 0 && !arches.includes(arch)) return false;
  if (!caps.every(has)) return false;
  if (minKernel !== undefined && !atLeast(minKernel)) return false;
  if (excludes?.arches?.includes(arch)) return false;
  if (excludes?.caps?.some(has)) return false;
  return excludes?.minKernel === undefined || !atLeast(excludes.minKernel);
}

function architecturesOf({ archMap, architectures }: Profile): readonly string[] {
  const [, mine] = ARCHITECTURES[process.arch] ?? ['', ''];
  const entry = archMap?.find(({ architecture }) => architecture === mine);
  if (entry) return [entry.architecture, ...(entry.subArchitectures ?? [])];
  return architectures ?? (mine === '' ? [] : [mine]);
}

/** `linux.seccomp` of a runtime spec for a process with these capabilities. */
export function resolveProfile(profile: Profile, capabilities: readonly string[]): object {
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: architecturesOf(profile),
    syscalls: (profile.syscalls ?? [])
      .filter((rule) => applies(rule, capabilities))
      .map(({ names, action, args, errnoRet }) => ({
        names,
        action,
        ...(args && args.length > 0 ? { args } : {}),
        ...(errnoRet === undefined ? {} : { errnoRet }),
      })),
  };
}

function readProfile(path: string): Profile | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
  let parsed: Partial<Profile> | null;
  try {
    parsed = JSON.parse(text) as Partial<Profile> | null;
  } catch (error) {
    throw new UserError(`${path} is no seccomp profile: ${(error as Error).message}`);
  }
  if (typeof parsed?.defaultAction !== 'string') {
    throw new UserError(`${path} is no seccomp profile: it has no defaultAction`);
  }
  return parsed as Profile;
}

/**
 * The filter for a process with these capabilities: of the default profile, or of the one in a file.
 * Undefined for `unconfined`.
 */
export function seccompFilter(
  capabilities: readonly string[],
  choice: string = 'default',
): object | undefined {
  if (choice === 'unconfined') return undefined;
  const places = choice === 'default' ? PLACES : [choice];
  for (const place of places) {
    const profile = readProfile(place);
    if (profile) return resolveProfile(profile, capabilities);
  }
  throw new UserError(
    choice === 'default'
      ? `there is no seccomp profile at ${PLACES.join(' or ')}: install golang-github-containers-common, or give --security-opt seccomp=unconfined`
      : `cannot read the seccomp profile ${choice}`,
  );
}
