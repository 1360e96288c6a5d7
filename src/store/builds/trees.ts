/** Mounts that a build needs for a while: stages and images that are copied from or bound, and the roots of RUN. */
import { mkdirSync } from 'node:fs';
import { mountOnly, type MountOptions } from '../../client/mount.js';
import { Unions } from '../../client/unions.js';
import { log } from '../../sys/log.js';
import { layerFormat } from '../layers/format.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { buildPlace } from './stale.js';

const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

export class Trees {
  readonly #place: string;
  readonly #mounted: string[] = [];
  readonly #shared = new Map<string, Promise<string>>();
  #count = 0;

  constructor(store: Store, lease: Lease) {
    this.#place = buildPlace(store, lease);
  }

  /** A new empty directory in the run directory: sockets, secrets, mount points. Latin1. */
  directory(name: string): string {
    const path = `${this.#place}/${name}-${this.#count++}`;
    mkdirSync(Buffer.from(path, 'latin1'), { recursive: true, mode: 0o700 });
    return path;
  }

  /** Mounts; where, latin1. Layers are directories, top first, latin1. */
  async mount(
    layers: readonly string[],
    options: Partial<Pick<MountOptions, 'upper' | 'work' | 'durability'>> = {},
  ): Promise<string> {
    const mountpoint = this.directory('tree');
    const { userxattr } = layerFormat();
    await mountOnly({
      lower: layers.map(utf8),
      mountpoint: utf8(mountpoint),
      ...options,
      options: userxattr ? ['userxattr'] : [],
    });
    this.#mounted.push(mountpoint);
    return mountpoint;
  }

  /** The same layers, read-only, are mounted once. No layers: an empty directory. */
  shared(layers: readonly string[]): Promise<string> {
    const key = layers.join(':');
    const known = this.#shared.get(key);
    if (known) return known;
    const mounted =
      layers.length === 0 ? Promise.resolve(this.directory('empty')) : this.mount(layers);
    this.#shared.set(key, mounted);
    return mounted;
  }

  async unmount(mountpoint: string): Promise<void> {
    await new Unions(log).end(utf8(mountpoint));
    const at = this.#mounted.indexOf(mountpoint);
    if (at >= 0) this.#mounted.splice(at, 1);
  }

  /** Takes all of them off. */
  async close(): Promise<void> {
    for (const mountpoint of [...this.#mounted]) await this.unmount(mountpoint);
  }
}
