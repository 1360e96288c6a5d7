/** Hashes of names; they must give the same value in every process and version: cookies and recovery rest on it. */

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
 * The readdir cookie of a name: 53 bits, above the cookies of "." and "..". 53 bits so that a
 * cookie is an exact JavaScript number; two names of one directory collide with 200,000 entries
 * once in half a million directories, and overlay/order.ts resolves that by the names' order.
 */
export function cookieOf(name: string): number {
  const hi = hash32(name, 0x5bd1e995) >>> 11;
  return hi * 0x1_0000_0000 + hash32(name, 0) + FIRST_COOKIE;
}

export const COOKIE_DOT = 1;
export const COOKIE_DOTDOT = 2;
export const FIRST_COOKIE = 3;
