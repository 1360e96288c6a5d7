/// <reference lib="esnext.disposable" preserve="true" />
/**
 * stratafs as a library: union mounts for Node programs. docs/library.md has examples.
 *
 * A mount is served by the resident host, never by the calling process, so a program may use its
 * own mount with any file system function, also the synchronous ones.
 */
export { type FailureCode, StratafsError } from './client/failure.js';
export { type MountEntry, mounts } from './client/list.js';
export {
  attach,
  diff,
  mount,
  type Mount,
  type MountOptions,
  unmount,
} from './client/mount.js';
export type { IdMapping, MountSettings, Path } from './client/options.js';
export { mountTemp, type TempOptions } from './client/temporary.js';
export type { End } from './client/watch.js';
export type { ChangeJson as Change } from './diff/json.js';
export type { MountStats } from './wire/stats.js';
