/** Unions that a program mounts for others. The resident host serves them, so they outlive the program. */
import { toLatin1 } from '../base/bytes.js';
import { E, errnoText, UserError } from '../base/errno.js';
import { liveMounts, mountStats } from './ask.js';
import { type MountOptions, mountOnly, unmount } from './mount.js';
import { MNT_DETACH } from '../sys/constants.js';
import { deviceAt, mountTable } from '../sys/mountTable.js';
import { loadNative, type Native } from '../sys/native.js';
import { allSockets } from '../wire/sockets.js';

const MS_RDONLY = 1;
const MS_REMOUNT = 32;

type Log = (line: string) => void;

export class Unions {
  readonly #native: Native;
  readonly #log: Log;

  constructor(log: Log) {
    this.#native = loadNative();
    this.#log = log;
  }

  /** Rejects with one sentence, and nothing mounted. */
  mount(options: MountOptions): Promise<void> {
    return mountOnly(options);
  }

  /** True when a union is mounted at `target` and somebody serves it. */
  async isLive(target: string): Promise<boolean> {
    const device = deviceAt(toLatin1(target));
    if (device === undefined) return false;
    const answers = await Promise.all(allSockets().map((socket) => mountStats({ socket, device })));
    return answers.some((stats) => stats !== undefined);
  }

  /** Where something is mounted at or below `directory`, deepest last. */
  below(directory: string): string[] {
    const begin = toLatin1(`${directory}/`);
    return mountTable()
      .map(({ mountpoint }) => Buffer.from(mountpoint, 'latin1').toString('utf8'))
      .filter((mountpoint) => toLatin1(mountpoint).startsWith(begin));
  }

  /** Writes what clients of mounts of `upper` have changed to it; rejects when that fails. */
  async flush(upper: string): Promise<void> {
    const path = toLatin1(upper);
    const mounts = (await liveMounts()).filter((mount) => mount.upper === path);
    for (const { mountpoint } of mounts) await this.#sync(mountpoint);
  }

  /** syncfs(2) of the file system at `path`: all of it is on the disk. */
  async sync(path: string): Promise<void> {
    await this.#sync(toLatin1(path));
  }

  async #sync(path: string): Promise<void> {
    const result = await this.#native.syncPath(path);
    // ENOTCONN: the mount has ended, and all that it did has reached the upper or is lost already.
    // ENOENT: it is in another mount namespace; the client there flushes it when it unmounts.
    if (result >= 0 || result === -E.ENOTCONN || result === -E.ENOENT) return;
    throw new UserError(`cannot write ${path} to the disk: ${errnoText(result)}`);
  }

  /** Makes the union at `target` read-only for all who have it mounted, unless files are being written. */
  freeze(target: string): void {
    const result = this.#native.mount('', toLatin1(target), '', MS_REMOUNT | MS_RDONLY, '');
    if (result < 0) {
      this.#log(`${target} stays writable where it is mounted elsewhere: ${errnoText(result)}`);
    }
  }

  /** Takes what is mounted at `target` off, detaching it when it is in use. Never rejects. */
  async end(target: string): Promise<void> {
    const path = toLatin1(target);
    for (const lazy of [false, true]) {
      if (deviceAt(path) === undefined) return;
      // Busy the first time. The launcher waits until the host has given up upper and workdir.
      await unmount(target, { lazy }).catch(() => undefined);
    }
    // Something else, or more of them.
    for (let tries = 0; deviceAt(path) !== undefined && tries < 8; tries++) {
      const result = await this.#native.unmountPath(path, MNT_DETACH);
      if (result < 0) this.#log(`cannot unmount ${target}: ${errnoText(result)}`);
    }
  }
}
