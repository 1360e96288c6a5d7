/**
 * Which nodes show a client no xattr. Whoever compares two trees (podman diff, commit and build walk both)
 * or packs one asks for the xattrs of each object, and hardly any has one. So the session answers for the
 * nodes that are known here, without the engine. And the layers of a mount that nothing can change are
 * counted meanwhile (native/census.cc): when no object has an xattr, the kernel is told not to ask again. Its
 * callers then hear EOPNOTSUPP, which not all take well, so only for those who do (`comparedByStorage`).
 */

/** So many questions are a walk; a shell's `ls` or an exec does not come to it. */
const WALK = 64;
/** As in native/census.cc, for all layers together. */
const CENSUS_MS = 400;

/** The session's side; absent where requests are not the kernel's (tests). */
interface BarePort {
  /** See Native.shareBare. */
  share(bits: Uint8Array): void;
  /** GETXATTR and LISTXATTR that came so far, those included that the session has answered. */
  asked(): number;
  /** Starts the census of a layer's root: the job's number, or -errno. */
  census(root: number): number;
}

export class BareNodes {
  #bits = new Uint8Array(0);
  #looked = 0;
  /** The layers' roots that are to be counted yet; undefined: no census is wanted. */
  #roots: number[] | undefined;
  #job = 0;
  #until = 0;
  /** No object of the mount has an xattr, and none can get one. */
  none = false;
  /** A node whose questions the engine must hear; 0: none. */
  except = 0;
  port: BarePort | undefined;

  /** `roots`: of the layers, where nothing can change them. */
  connect(port: BarePort, roots: readonly number[] | undefined): void {
    this.port = port;
    this.#roots = roots && [...roots];
  }

  /** Somebody asks for the xattrs of one object after the other. */
  get walked(): boolean {
    return this.port !== undefined && this.port.asked() >= WALK;
  }

  /** What a listing tells of is asked for next: as long as what was looked at before has been. */
  get ahead(): boolean {
    return this.port !== undefined && this.port.asked() >= Math.max(WALK, this.#looked);
  }

  has(node: number): boolean {
    return this.#bits[node] === 1;
  }

  /** The node was looked at before anybody asked. */
  look(node: number, bare: boolean): void {
    this.#looked++;
    if (bare) this.add(node);
  }

  add(node: number): void {
    if (this.none || !this.port || node === this.except) return;
    if (node >= this.#bits.length) {
      const bits = new Uint8Array(Math.max(4096, 2 * node));
      bits.set(this.#bits);
      this.#bits = bits;
      this.port.share(bits);
    }
    this.#bits[node] = 1;
  }

  /** It may have got an xattr, or its number is free for another. */
  drop(node: number): void {
    if (node < this.#bits.length) this.#bits[node] = 0;
  }

  /** A question has come to the engine: begins the census when that is worth it. */
  count(): void {
    if (!this.#roots || this.#job !== 0 || !this.walked) return;
    this.#until = performance.now() + CENSUS_MS;
    this.#next();
  }

  #next(): void {
    const root = this.#roots?.pop();
    const { port } = this;
    if (!port) return;
    if (root !== undefined) {
      this.#job = performance.now() > this.#until ? -1 : port.census(root);
      if (this.#job < 0) this.#roots = undefined;
      return;
    }
    this.none = true;
    this.#roots = undefined;
    // The kernel asks the engine once more, and hears it.
    this.#bits = new Uint8Array(0);
    port.share(this.#bits);
  }

  /** Job `number` has ended; false when it is none of this mount's. 0: the layer has no xattrs. */
  done(number: number, result: number): boolean {
    if (number !== this.#job || this.#job <= 0) return false;
    if (result === 0 && this.#roots) this.#next();
    else this.#roots = undefined;
    return true;
  }
}
