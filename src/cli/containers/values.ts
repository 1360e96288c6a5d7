/** What the values of Docker's flags mean. Every function throws UserError with one sentence. */
import { readFileSync } from 'node:fs';
import { errnoText, UserError } from '../../base/errno.js';
import type { DeviceMapping, RestartPolicy, Ulimit } from '../../store/containers/records.js';
import { bytes, errnoOf } from '../../sys/paths.js';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/** `512m`, `1.5g`, bytes. */
export function parseBytes(text: string | undefined, flag: string): number {
  if (text === undefined || text === '') return 0;
  const match = /^(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?$/i.exec(text.trim());
  if (!match) throw new UserError(`invalid size '${text}' of --${flag}: write 512m or 2g`);
  return Math.floor(Number(match[1]) * UNITS[match[2].toLowerCase()]);
}

/** `--memory-swap`: -1 for no limit. */
export const parseSwap = (text: string | undefined): number =>
  text === '-1' ? -1 : parseBytes(text, 'memory-swap');

/** Docker's least: programs do not start with less. */
const LEAST_MEMORY = 6 * 2 ** 20;

export function parseMemory(text: string | undefined): number {
  const memory = parseBytes(text, 'memory');
  if (memory > 0 && memory < LEAST_MEMORY) {
    throw new UserError('Minimum memory limit allowed is 6MB');
  }
  return memory;
}

/** `1.5` CPUs as billionths. */
export function parseCpus(text: string | undefined): number {
  if (text === undefined || text === '') return 0;
  if (!/^\d+(\.\d+)?$/.test(text)) throw new UserError(`invalid --cpus '${text}': write 1.5`);
  return Math.round(Number(text) * 1e9);
}

/** `KEY=VALUE` lists, as an object; a bare KEY has the value ''. */
export function parsePairs(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((each) => {
      const at = each.indexOf('=');
      return at < 0 ? [each, ''] : [each.slice(0, at), each.slice(at + 1)];
    }),
  );
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(bytes(path), 'utf8').split('\n');
  } catch (error) {
    const name = Buffer.from(path, 'latin1').toString('utf8');
    throw new UserError(`cannot read ${name}: ${errnoText(errnoOf(error))}`);
  }
}

/** Lines that are neither empty nor comments. */
export const readLines = (paths: readonly string[]): string[] =>
  paths
    .flatMap(linesOf)
    .map((line) => line.replace(/\r$/, '').replace(/^\s+/, ''))
    .filter((line) => line !== '' && !line.startsWith('#'));

/** `-e KEY` takes the value of this process; one that has none takes the variable of the image away. */
export function parseEnvironment(
  files: readonly string[],
  list: readonly string[],
  own: NodeJS.ProcessEnv = process.env,
): string[] {
  return [...readLines(files), ...list].map((each) => {
    if (each.startsWith('=') || each === '') {
      throw new UserError(`invalid environment variable: '${each}'`);
    }
    if (each.includes('=')) return each;
    const value = own[each];
    return value === undefined ? each : `${each}=${value}`;
  });
}

/** `no`, `always`, `unless-stopped`, `on-failure[:N]`. */
export function parseRestart(text: string | undefined): RestartPolicy {
  const [name = 'no', count] = (text ?? 'no').split(':') as (string | undefined)[];
  if (name !== 'no' && name !== 'always' && name !== 'unless-stopped' && name !== 'on-failure') {
    throw new UserError(
      `invalid restart policy '${text ?? ''}': no, always, unless-stopped or on-failure[:N]`,
    );
  }
  if (count !== undefined && (name !== 'on-failure' || !/^\d{1,6}$/.test(count))) {
    throw new UserError(`invalid restart policy '${text ?? ''}': only on-failure has a number`);
  }
  return { Name: name, MaximumRetryCount: Number(count ?? 0) };
}

/** `nofile=1024:2048`. */
export function parseUlimit(text: string): Ulimit {
  const match = /^([a-z]+)=(-1|\d+|unlimited)(?::(-1|\d+|unlimited)|)$/.exec(text);
  if (!match) throw new UserError(`invalid --ulimit '${text}': write nofile=1024:2048`);
  const number = (value: string): number =>
    value === '-1' || value === 'unlimited' ? 2 ** 63 : Number(value);
  const soft = number(match[2]);
  const hard = number(match[3] || match[2]);
  if (soft > hard) throw new UserError(`--ulimit '${text}': the soft limit is above the hard one`);
  return { Name: match[1], Soft: soft, Hard: hard };
}

/** `/dev/HOST[:/dev/CONTAINER[:rwm]]`. */
export function parseDevice(text: string): DeviceMapping {
  const [PathOnHost = '', second, third] = text.split(':') as (string | undefined)[];
  const rights = /^[rwm]{1,3}$/;
  const onlyRights = second !== undefined && third === undefined && rights.test(second);
  const PathInContainer = second === undefined || onlyRights ? PathOnHost : second;
  const CgroupPermissions = third ?? (onlyRights ? second : 'rwm');
  if (!PathOnHost.startsWith('/') || !PathInContainer.startsWith('/')) {
    throw new UserError(`invalid --device '${text}': write /dev/HOST[:/dev/CONTAINER[:rwm]]`);
  }
  if (!rights.test(CgroupPermissions)) throw new UserError(`invalid device mode: ${text}`);
  return { PathOnHost, PathInContainer, CgroupPermissions };
}

/** What `--network` knows. */
export function parseNetwork(text: string | undefined): 'none' | 'host' | 'private' {
  switch (text ?? 'private') {
    case 'none':
      return 'none';
    case 'host':
      return 'host';
    // Docker's and podman's words for a network of its own that reaches outside.
    case 'private':
    case 'bridge':
    case 'default':
    case 'pasta':
    case 'slirp4netns':
      return 'private';
    default:
      throw new UserError(`there is no network ${text ?? ''}: none, host or private`);
  }
}

/** `--pid` and `--ipc`. */
export function parseNamespace(text: string | undefined, flag: string): string {
  if (text === undefined || text === '' || text === 'private') return '';
  if (text === 'host') return 'host';
  throw new UserError(`invalid --${flag} '${text}': private or host`);
}

/** `ip:port` names: `HOST:ADDRESS`, or Docker's newer `HOST=ADDRESS`. */
export function parseHost(text: string): string {
  const match = /^([^:=]+)[:=](.+)$/.exec(text);
  const address = match?.[2].replace(/^\[(.*)\]$/, '$1') ?? '';
  if (!match || !(address === 'host-gateway' || /^[0-9a-fA-F:.]+$/.test(address))) {
    throw new UserError(`invalid --add-host '${text}': write NAME:ADDRESS`);
  }
  return `${match[1]}:${address}`;
}
