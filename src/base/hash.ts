/**
 * Hashes of names. They must have the same value in every process and version, because cookies and recovery
 * depend on them.
 */

/**
 * A seed for chains of names, unknown to who makes names: with a known one a directory can be filled with
 * names that all share a chain, and each lookup in it would walk them all.
 */
export const newSeed = (): number => Math.floor(Math.random() * 0x1_0000_0000);

/** 32 bits of FNV-1a over the name's bytes, started from `seed`. */
export function hash32(name: string, seed: number): number {
  let h = (seed ^ 0x811c9dc5) >>> 0;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return finish(h);
}

/** The same of a name that lies in memory. */
export function hash32Of(bytes: Uint8Array, at: number, length: number, seed: number): number {
  let h = (seed ^ 0x811c9dc5) >>> 0;
  for (let i = at; i < at + length; i++) h = Math.imul(h ^ bytes[i], 0x01000193);
  return finish(h);
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 15);
  h = Math.imul(h, 0x2c1b3c6d);
  h ^= h >>> 12;
  return h >>> 0;
}

/**
 * The readdir cookie of a name: 31 bits, above the cookies of "." and "..". 31 bits because a 32-bit
 * program without large-file support gets EOVERFLOW from readdir(3) and telldir(3) for more. Names of
 * one directory that share a hash are told apart by overlay/listing/order.ts; numbers above the
 * largest hash are left for them.
 */
export function cookieOf(name: string): number {
  return (hash32(name, 0) % HASHES) + FIRST_COOKIE;
}

export const COOKIE_DOT = 1;
export const COOKIE_DOTDOT = 2;
export const FIRST_COOKIE = 3;
const MAX_COOKIE = 0x7fff_ffff;
/** How many names that share the largest hashes have room above them. */
const ROOM = 1 << 24;
const HASHES = MAX_COOKIE - ROOM;
