/**
 * Inode numbers of layers on several file systems. High bits hold the number of the file system (`xino` of
 * kernel overlayfs: ovl_map_dev_ino, ovl_get_layers), so numbers are unique below the union's one st_dev.
 *
 * - Where all layers are on file systems with 32-bit numbers, the numbers are those of the kernel's `xino=on`.
 * - Elsewhere the kernel uses the highest of 64 bits. Here they are the highest of 53 bits, because programs
 *   that keep inode numbers as doubles (npm's tar, fs-extra) confuse numbers above 2^53.
 */
import { display } from '../../base/bytes.js';
import { errnoText, UserError } from '../../base/errno.js';
import type { Layer } from '../../layer/layer.js';
import { noHandle } from '../../layer/absence.js';
import { HANDLE_MAX } from '../../layer/origin.js';
import { log } from '../../sys/log.js';
import { SMALL, type Sys } from '../../sys/sys.js';

/** A double has 53 bits of an integer: 21 of them are in the upper half of a number. */
const EXACT_HI_BITS = 21;
/** The `bits` of a union whose layers all have numbers of 32 bits. */
const NARROW = 32;

/** FILEID_INO32_GEN: generic_encode_ino32_fh gives it, with 8 bytes; XFS has its own, which may look so. */
const INO32_TYPE = 1;
const INO32_BYTES = 8;
const XFS_MAGIC = 0x5846_5342;

interface XinoParts {
  /** What is merged, topmost first. */
  readonly layers: readonly Layer[];
  readonly dataLayers: readonly Layer[];
  /** The first of the layers is an upper, if only to read. */
  readonly upper: boolean;
  /** `xino=on`: say it when a number does not fit, as the kernel does. */
  readonly warns: boolean;
}

/** Undefined when all layers are on one file system: numbers are then shown as they are. Throws a UserError. */
export function openXino(sys: Sys, parts: XinoParts): Xino | undefined {
  const { layers, dataLayers, upper } = parts;
  // 0 is the upper's file system, also where there is no upper.
  const numbers = new Map<number, number>();
  if (upper) numbers.set(layers[0].dev, 0);
  const byLayer = new Map<number, number>();
  for (const layer of layers) {
    const known = numbers.get(layer.dev);
    const fsid = known ?? (upper ? numbers.size : numbers.size + 1);
    numbers.set(layer.dev, fsid);
    byLayer.set(layer.id, fsid);
  }
  if (numbers.size < 2) return undefined;
  const highest = upper ? numbers.size - 1 : numbers.size;
  // Numbers of 32 bits leave the upper half free; of others no more is taken than is needed.
  const narrow = [...layers, ...dataLayers].every((layer) => hasNarrowNumbers(sys, layer));
  const bits = narrow ? NARROW : Math.floor(Math.log2(highest)) + 2;
  const path = (id: number): string => layers.find((layer) => layer.id === id)?.path ?? '';
  return new Xino(bits, byLayer, (id) => {
    if (parts.warns)
      log(`xino: an inode number of ${display(path(id))} leaves no ${bits} bits free`);
  });
}

/** True where the kernel's ovl_can_decode_fh says FILEID_INO32_GEN. */
function hasNarrowNumbers(sys: Sys, layer: Layer): boolean {
  const { native, u32 } = sys;
  const known = native.fstatfs(layer.root, SMALL);
  if (known < 0) throw unknown(layer, known);
  if (u32[SMALL >> 2] === XFS_MAGIC) return false;
  u32[SMALL >> 2] = HANDLE_MAX;
  const code = native.nameToHandleAt(layer.root, '.', SMALL, 0);
  if (code < 0 && !noHandle(code)) throw unknown(layer, code);
  if (code < 0) return false;
  return u32[SMALL >> 2] === INO32_BYTES && u32[(SMALL >> 2) + 1] === INO32_TYPE;
}

/** Numbers would be others than at the last mount. */
const unknown = ({ path }: Layer, code: number): UserError =>
  new UserError(`cannot tell how inode numbers of ${display(path)} are made: ${errnoText(code)}`);

export class Xino {
  readonly #byLayer: ReadonlyMap<number, number>;
  readonly #tooBig: (layer: number) => void;
  readonly #bits: number;
  /** In the upper half of a number: how many low bits are the file system's own. */
  readonly #shift: number;
  #warned = false;

  constructor(bits: number, byLayer: ReadonlyMap<number, number>, tooBig: (layer: number) => void) {
    this.#bits = bits;
    this.#shift = Math.max(EXACT_HI_BITS - bits, 0);
    this.#byLayer = byLayer;
    this.#tooBig = tooBig;
  }

  /** What numbers shown for objects of the lowers among `layers` depend on. */
  key(layers: readonly Layer[]): string {
    return `${this.#bits} ${layers.map(({ id }) => this.#byLayer.get(id)).join(',')}`;
  }

  /** The file system of another layer is that of `layer`. */
  share(layer: number, twin: number): Xino {
    return new Xino(
      this.#bits,
      new Map([...this.#byLayer, [twin, this.#byLayer.get(layer) ?? 0]]),
      this.#tooBig,
    );
  }

  /** The upper half to show for one of an object in `layer`; the lower half stays. */
  hi(layer: number, hi: number): number {
    const fsid = this.#byLayer.get(layer) ?? 0;
    const shift = this.#shift;
    // The lowest bit is left to numbers that do not fit, so the file system's starts one higher.
    if (this.#bits === NARROW) return hi === 0 ? (fsid << 1) >>> 0 : this.#fold(layer, fsid, hi);
    return hi >>> shift === 0 ? (hi | (fsid << (shift + 1))) >>> 0 : this.#fold(layer, fsid, hi);
  }

  /**
   * A number without free bits. The kernel gives a directory another for as long as it remembers it, and
   * a file its own below another st_dev. Here it is a hash, so that it lasts and is not a neighbour's.
   */
  #fold(layer: number, fsid: number, hi: number): number {
    if (!this.#warned) this.#tooBig(layer);
    this.#warned = true;
    // The bit that no number with free bits has.
    const reserved = this.#bits === NARROW ? 1 : 1 << this.#shift;
    const free = this.#bits === NARROW ? ((1 << EXACT_HI_BITS) - 1) & ~1 : reserved - 1;
    return reserved | (mix(hi, fsid) & free);
  }
}

/** 32 bits of which each depends on all of `hi` and on the file system's number (murmur3's end). */
function mix(hi: number, fsid: number): number {
  let h = (hi ^ Math.imul(fsid + 1, 0x9e37_79b1)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
