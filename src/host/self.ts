/** Describes this process for those who ask: build, version, and for whom it acts. */
import { readFileSync } from 'node:fs';
import { mountNamespace } from '../wire/sockets.js';
import type { HostInfo } from '../wire/control.js';

/** The part of HostInfo that stays as it is. */
export type Fixed = Pick<HostInfo, 'pid' | 'version' | 'build' | 'path' | 'namespace' | 'runBy'>;

export interface Self extends Fixed {
  /**
   * What peers for whom it mounts must be able to do: the launcher's text of itself
   * (native/identity.h). Empty for --foreground, which takes no mounts.
   */
  readonly identity: string;
}

function versionIn(path: string): string {
  const { version } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8')) as {
    readonly version: string;
  };
  return version;
}

/** `path`: the install's directory. Read once at the start: an upgrade may replace what is there. */
export function describeSelf(
  path: string,
  build: string,
  identity: string,
  runBy: HostInfo['runBy'],
): Self {
  const namespace = mountNamespace();
  return { pid: process.pid, version: versionIn(path), build, path, namespace, runBy, identity };
}

/** What two texts differ in, by the first word of each line. */
export function differences(ours: string, theirs: string): string {
  const other = new Set(theirs.split('\n'));
  const lines = ours.split('\n').filter((line) => !other.has(line));
  return lines.map((line) => line.split(' ', 1)[0]).join(', ') || 'rights';
}
