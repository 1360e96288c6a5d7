/**
 * stratafs as a library: union mounts for Node programs.
 *
 * A mount is served by the resident host, never by the calling process, so a program may use its
 * own mount with any file system function, also the synchronous ones.
 */
export { type Change, mount, type Mount, type MountOptions } from './client/mount.js';
export type { MountStats } from './wire/stats.js';
