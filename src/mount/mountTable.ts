/** The kernel's table of mounts in this namespace, /proc/self/mountinfo (man 5 proc). */
import { readFileSync } from 'node:fs';

export interface MountRow {
  /** "major:minor" of the file system; the minor of a FUSE mount names its connection. */
  readonly device: string;
  /** Latin1. */
  readonly mountpoint: string;
  readonly type: string;
  /** The file system's own options, with the kernel's octal escapes taken back; latin1. */
  readonly options: string;
}

const unescape = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));

/** All rows, lowest of a stack first. */
export function mountTable(
  text: string = readFileSync('/proc/self/mountinfo', 'latin1'),
): MountRow[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      return {
        device: fields[2],
        mountpoint: unescape(fields[4]),
        type: fields[fields.indexOf('-', 6) + 1],
        options: unescape(fields[fields.indexOf('-', 6) + 3] ?? ''),
      };
    });
}

/** Where the file system `device` ("major:minor") is mounted, the latest place first. */
export function placesOf(device: string): string[] {
  return mountTable()
    .filter((row) => row.device === device)
    .map((row) => row.mountpoint)
    .reverse();
}

/** The file system on top at `mountpoint` (a resolved path), as "major:minor". */
export function deviceAt(mountpoint: string): string | undefined {
  return mountTable().findLast((row) => row.mountpoint === mountpoint)?.device;
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
