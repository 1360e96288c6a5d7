/**
 * Who uses a volume: a file with their IDs, outside the store, as all use ends with a reboot. Who
 * changes it holds the volume's lock.
 */
import { readFileSync } from 'node:fs';
import { makeDirectory, publishFile, readText } from '../state/files.js';
import type { Store } from '../state/store.js';

interface Holders {
  /** The kernel's boot_id: /run is not on every machine emptied by a reboot. */
  readonly boot: string;
  readonly ids: readonly string[];
}

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

const fileOf = (store: Store, name: string): string => `${store.run}/volumes/${name}.json`;

export function readHolders(store: Store, name: string): readonly string[] {
  const text = readText(fileOf(store, name));
  if (text === undefined || text === '') return [];
  const { boot, ids } = JSON.parse(text) as Holders;
  return boot === bootId() ? ids : [];
}

export function writeHolders(store: Store, name: string, ids: readonly string[]): void {
  makeDirectory(`${store.run}/volumes`);
  const text = JSON.stringify({ boot: bootId(), ids } satisfies Holders);
  publishFile(fileOf(store, name), text, { sync: false });
}
