/**
 * The kernel's backing files of one passthrough mount, by node (fs/fuse/backing.c). A file that is or was
 * open has the id under which its data is registered with the connection. All opens of a node share one id,
 * as the kernel demands (fuse_inode_uncached_io_start). The ids of closed files are kept for the next open;
 * above IDLE_MAX the least recently closed one is given up, as each holds an inode in memory.
 */

/** The session's side: registers an open file, gives an id up. */
interface BackingPort {
  /** The id (> 0) of the regular file `fd`, or -errno; `fd` stays the caller's. */
  readonly open: (fd: number) => number;
  readonly close: (id: number) => void;
  /** The kernel forgets the attributes it has of a node. */
  readonly invalidate: (node: number) => void;
}

/** How long an id stays: over closes; until the last close; the same, and its data is old by then. */
export const KEPT = 0;
export const ONCE = 1;
export const STALE = 2;
type Stay = typeof KEPT | typeof ONCE | typeof STALE;

/** Ids kept of files that are not open. */
const IDLE_MAX = 4096;
/** The slot that the list of idle slots begins and ends with. */
const LIST = 0;
const FIRST_SLOTS = 64;

export class Backings {
  readonly port: BackingPort;
  /** Opens so far, and how many of them had to register their file first. */
  opened = 0;
  registered = 0;
  /**
   * Who was just answered ESTALE, by thread: node. The VFS tries once more, and only a path is
   * looked up in between; who comes for the same node again came by a descriptor.
   */
  readonly refused = new Map<number, number>();
  readonly #slots = new Map<number, number>();
  readonly #idleMax: number;
  #id = new Int32Array(FIRST_SLOTS);
  #node = new Uint32Array(FIRST_SLOTS);
  #opens = new Uint32Array(FIRST_SLOTS);
  /** KEPT, ONCE or STALE. */
  #stay = new Uint8Array(FIRST_SLOTS);
  /** Neighbours in the list of idle slots, oldest first; `next` also chains the unused ones. */
  #next = new Uint32Array(FIRST_SLOTS);
  #prev = new Uint32Array(FIRST_SLOTS);
  #used = 1;
  #unused = 0;
  #idle = 0;
  #open = 0;

  constructor(port: BackingPort, idleMax = IDLE_MAX) {
    this.port = port;
    this.#idleMax = idleMax;
  }

  /** Ids registered now. */
  get size(): number {
    return this.#slots.size;
  }

  /** Files open now. */
  get open(): number {
    return this.#open;
  }

  /** The node's id, or 0. */
  get(node: number): number {
    const slot = this.#slots.get(node);
    return slot === undefined ? 0 : this.#id[slot];
  }

  /** The node is open. */
  isOpen(node: number): boolean {
    const slot = this.#slots.get(node);
    return slot !== undefined && this.#opens[slot] > 0;
  }

  /** The node is open, and those who have it open see data that is no longer the node's. */
  isStale(node: number): boolean {
    const slot = this.#slots.get(node);
    return slot !== undefined && this.#stay[slot] === STALE;
  }

  /** Registers `fd` as the data of a node that has no id; returns the id or -errno. */
  add(node: number, fd: number, stay: Stay = KEPT): number {
    const id = this.port.open(fd);
    if (id < 0) return id;
    this.registered++;
    const slot = this.#takeSlot();
    this.#slots.set(node, slot);
    this.#id[slot] = id;
    this.#node[slot] = node;
    this.#opens[slot] = 0;
    this.#stay[slot] = stay;
    this.#enlist(slot);
    return id;
  }

  /** One more open of a node that has an id; returns the id. */
  hold(node: number): number {
    const slot = this.#slots.get(node);
    if (slot === undefined) throw new Error(`node ${node} has no backing`);
    if (this.#opens[slot]++ === 0) this.#delist(slot);
    this.#open++;
    this.opened++;
    return this.#id[slot];
  }

  /** RELEASE: one open less. The kernel has let go of the backing file before it says so. */
  release(node: number): void {
    const slot = this.#slots.get(node);
    if (slot === undefined || this.#opens[slot] === 0) return;
    this.#open--;
    if (--this.#opens[slot] > 0) return;
    this.#enlist(slot);
    if (this.#stay[slot] !== KEPT) this.drop(node);
    else if (this.#idle > this.#idleMax) this.drop(this.#node[this.#next[LIST]]);
  }

  /** The node's data is in another file from now on. */
  moved(node: number): void {
    const slot = this.#slots.get(node);
    if (slot === undefined) return;
    if (this.#opens[slot] === 0) this.drop(node);
    else this.#stay[slot] = STALE;
  }

  /** Gives the node's id up. */
  drop(node: number): void {
    const slot = this.#slots.get(node);
    if (slot === undefined) return;
    if (this.#opens[slot] === 0) this.#delist(slot);
    this.#open -= this.#opens[slot];
    this.#slots.delete(node);
    this.#next[slot] = this.#unused;
    this.#unused = slot;
    this.port.close(this.#id[slot]);
  }

  #enlist(slot: number): void {
    const last = this.#prev[LIST];
    this.#next[last] = slot;
    this.#prev[slot] = last;
    this.#next[slot] = LIST;
    this.#prev[LIST] = slot;
    this.#idle++;
  }

  #delist(slot: number): void {
    this.#next[this.#prev[slot]] = this.#next[slot];
    this.#prev[this.#next[slot]] = this.#prev[slot];
    this.#idle--;
  }

  #takeSlot(): number {
    if (this.#unused !== 0) {
      const slot = this.#unused;
      this.#unused = this.#next[slot];
      return slot;
    }
    if (this.#used === this.#id.length) this.#grow();
    return this.#used++;
  }

  #grow(): void {
    const more = this.#id.length * 2;
    const grown = <T extends Int32Array | Uint32Array | Uint8Array>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.#id = grown(new Int32Array(more), this.#id);
    this.#node = grown(new Uint32Array(more), this.#node);
    this.#opens = grown(new Uint32Array(more), this.#opens);
    this.#stay = grown(new Uint8Array(more), this.#stay);
    this.#next = grown(new Uint32Array(more), this.#next);
    this.#prev = grown(new Uint32Array(more), this.#prev);
  }
}
