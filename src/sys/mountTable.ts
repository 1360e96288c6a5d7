/** Reads the kernel's table of mounts in this namespace, /proc/self/mountinfo (man 5 proc). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { E } from '../base/errno.js';
import { errnoOf } from './paths.js';

export interface MountRow {
  /** "major:minor" of the file system; the minor of a FUSE mount names its connection. */
  readonly device: string;
  /** Latin1. */
  readonly mountpoint: string;
  readonly type: string;
  /** The file system's own options, still with the kernel's octal escapes; latin1. */
  readonly options: string;
}

/** Takes back the octal escapes of seq_escape(). */
export const unescapeOctal = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));

/** As the kernel writes a mount point (show_mountinfo). */
const escape = (path: string): string =>
  path.replace(
    /[ \t\n\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );

const readTable = (): string => readFileSync('/proc/self/mountinfo', 'latin1');

function parse(line: string): MountRow {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', 6);
  return {
    device: fields[2],
    mountpoint: unescapeOctal(fields[4]),
    type: fields[separator + 1],
    options: fields[separator + 3] ?? '',
  };
}

/**
 * The rows whose line holds one of `parts`, each framed by blanks, or all; lowest of a stack first.
 * A table may have thousands of rows, and of most nothing is asked.
 */
export function mountTable(text: string = readTable(), parts: readonly string[] = []): MountRow[] {
  const framed = parts.map((part) => ` ${part} `);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .filter((line) => framed.length === 0 || framed.some((part) => line.includes(part)))
    .map(parse);
}

/** All mounts of a file system type. */
export const mountsOfTypes = (types: readonly string[]): MountRow[] =>
  mountTable(
    readTable(),
    types.map((type) => `- ${type}`),
  ).filter((row) => types.includes(row.type));

/** Where the file system `device` ("major:minor") is mounted, the latest place first. */
export function placesOf(device: string): string[] {
  return mountTable(readTable(), [device])
    .filter((row) => row.device === device)
    .map((row) => row.mountpoint)
    .reverse();
}

/** The file system on top at `mountpoint` (a resolved path), as "major:minor". */
export function deviceAt(mountpoint: string, text: string = readTable()): string | undefined {
  const rows = mountTable(text, [escape(mountpoint)]);
  return rows.findLast((row) => row.mountpoint === mountpoint)?.device;
}

/** st_dev of stat(2) for "major:minor" (gnu_dev_makedev of glibc), as a decimal string. */
export function statDevice(device: string): string {
  const [major, minor] = device.split(':').map(BigInt);
  return String(
    ((major & 0xfffff000n) << 32n) |
      ((major & 0xfffn) << 8n) |
      ((minor & 0xffffff00n) << 12n) |
      (minor & 0xffn),
  );
}

/** The type of our mounts. */
export const MOUNT_TYPE = 'fuse.stratafs';

/** Of the processes here, the first of each mount namespace. */
function namespaceMembers(): string[] {
  const members = new Map<string, string>();
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (!members.has(namespace)) members.set(namespace, pid);
    } catch (error) {
      // It has ended, or is another user's, whose mounts cannot be seen.
      if (![E.ENOENT, E.ESRCH, E.EACCES, E.EPERM].includes(errnoOf(error))) throw error;
    }
  }
  return [...members.values()];
}

/**
 * The last names of the places on mounts of a type at which something else is mounted, in all mount
 * namespaces that processes here are in.
 */
export function mountedOn(type: string): Set<string> {
  const names = new Set<string>();
  for (const pid of namespaceMembers()) {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/mountinfo`, 'latin1');
    } catch (error) {
      // EINVAL: it is just ending.
      if (![E.ENOENT, E.ESRCH, E.EACCES, E.EINVAL].includes(errnoOf(error))) throw error;
      continue;
    }
    if (!text.includes(` ${type} `)) continue;
    const rows = text.split('\n').map((line) => line.split(' '));
    const ids = new Set(rows.filter((row) => row.includes(type)).map(([id]) => id));
    for (const row of rows) {
      if (ids.has(row[1])) names.add(unescapeOctal(row[4]).replace(/^.*\//, ''));
    }
  }
  return names;
}
