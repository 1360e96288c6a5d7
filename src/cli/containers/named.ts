/** Words that are about mounts and hosts, and about containers, too: which is meant. */
import { statSync } from 'node:fs';
import { deviceAt } from '../../sys/mountTable.js';
import { bytes } from '../../sys/paths.js';
import { workingDirectory } from '../../wire/sockets.js';

/** A mount is not asked: it may not answer. */
const isDirectory = (name: string): boolean =>
  deviceAt(`${workingDirectory()}/${name}`) !== undefined ||
  (statSync(bytes(name), { throwIfNoEntry: false })?.isDirectory() ?? false);

/**
 * True when `diff`, `logs` or `stats` with what follows is about containers: logs of hosts have no argument,
 * statistics of mounts have one, and a mount point is a directory. The launcher has the same rule
 * (native/launcher.cc, namesContainer). Arguments are latin1.
 */
export function namesContainer([word, ...rest]: readonly string[]): boolean {
  const names = rest.filter((arg) => !arg.startsWith('-'));
  if (word === 'logs') return names.length > 0;
  if (rest.some((arg) => /^--(upper|lower)/.test(arg))) return false;
  if (names.length === 0) return word === 'stats' && !rest.includes('--help');
  return !names.some((name) => name.includes('/') || isDirectory(name));
}
