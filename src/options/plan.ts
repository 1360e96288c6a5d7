/**
 * Makes the plan of one mount from its collected options, or the sentence that says what is wrong with them.
 */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { IdSpec } from '../overlay/shown/ids.js';
import type { OverlaySpec } from '../overlay/spec.js';
import { collect } from './collect.js';
import type { Collected } from './collected.js';
import { absolute } from './list.js';
import { MS } from './mountFlags.js';

/** What one request for a mount asks for, parsed and frozen; nothing on disk was looked at yet. */
export interface MountPlan {
  readonly spec: OverlaySpec;
  /** MS_* for mount(2). */
  readonly flags: number;
  /** MS_* for the second mount(2), which sets the propagation; 0 for none. */
  readonly propagation: number;
  /** The source shown in the mount table. */
  readonly source: string;
  readonly allowOther: boolean;
  /** `context=...` and its like, as mount(2) takes them; only with SELinux. */
  readonly labels: readonly string[];
  /** Absolute path, as asked for. */
  readonly mountpoint: string;
  /** An open /dev/fuse that the caller has mounted: `/dev/fd/N` as the mount point, as libfuse has it. */
  readonly givenFd?: number;
  /** For the log: options that were taken and have no effect. */
  readonly notes: readonly string[];
}

/** Options that exclude what metadata-only copies need (ovl_fs_params_verify). */
function refuseCopies({ dataLayers, metacopy, redirectDir }: Collected): void {
  if (metacopy === true && redirectDir === 'nofollow') {
    throw new UserError(
      'metacopy=on and redirect_dir=nofollow exclude each other, as a metadata-only copy that is renamed needs a redirect: leave one of them out',
    );
  }
  if (dataLayers.length === 0) return;
  const layer = `data-only layer ${display(dataLayers[0])}`;
  if (metacopy === false) {
    throw new UserError(
      `${layer} needs metacopy=on, which alone leads there: leave metacopy=off out`,
    );
  }
  if (redirectDir === 'nofollow') {
    throw new UserError(`${layer} is reached by redirects alone: leave redirect_dir=nofollow out`);
  }
}

/** What can be refused without looking at the disk. */
function refuse(options: Collected): void {
  if (options.lowers.length === 0) {
    throw new UserError('no layer to mount: give lowerdir, as in -o lowerdir=DIR');
  }
  if (options.data === 'passthrough' && options.writeback === true) {
    throw new UserError(
      'writeback=1 and data=passthrough exclude each other: writes go to the layer at once, so leave writeback out',
    );
  }
  refuseCopies(options);
  const mark = options.format === 'plain' ? [...options.asked].at(0) : undefined;
  if (mark !== undefined) {
    throw new UserError(
      `option ${mark} asks for marks that format=plain leaves out: leave one of them out`,
    );
  }
  const clash = options.userxattr ? [...options.asked].at(0) : undefined;
  if (clash !== undefined) {
    throw new UserError(
      `option ${clash} cannot go with userxattr, whose marks anybody can write: leave one of them out`,
    );
  }
  const readOnly = (options.flags & MS.RDONLY) !== 0;
  if (options.upper !== undefined && options.work === undefined && !readOnly) {
    throw new UserError(
      `upperdir ${display(options.upper)} has no workdir: add workdir=DIR, a directory on the same file system`,
    );
  }
  if (options.work !== undefined && options.upper === undefined) {
    throw new UserError(
      `workdir ${display(options.work)} has no upperdir: add upperdir=DIR, or leave workdir out for a read-only mount`,
    );
  }
}

/** What the ID options come to; undefined when every ID is shown as it is. */
function idSpec({ ids, squash }: Collected): IdSpec | undefined {
  const otherwise = squash ? 0 : undefined;
  const spec = {
    ...ids,
    squashUid: ids.squashUid ?? otherwise,
    squashGid: ids.squashGid ?? otherwise,
  };
  const plain = spec.squashUid === undefined && spec.squashGid === undefined;
  return plain && spec.uids.length + spec.gids.length === 0 ? undefined : Object.freeze(spec);
}

/** What the upper may hold, as far as the options say it; who asks for a mark asks for the format that has it. */
function formatOf({ format, asked }: Collected): Pick<OverlaySpec, 'format'> {
  if (format !== undefined) return { format };
  return asked.size > 0 ? { format: 'overlay' } : {};
}

/** Where relative paths start, who asks, and what the command line says besides the list. */
interface PlanContext {
  readonly cwd: string;
  readonly mountpoint: string;
  /** euid 0: devices and set-user-ID bits are honoured unless the options say otherwise. */
  readonly privileged: boolean;
  readonly debug?: boolean;
  readonly asFuseOverlayfs?: boolean;
  /** FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT is set: its whiteouts are then `.wh.` files. */
  readonly dotWhiteouts?: boolean;
  /** The process that plans serves the mount, and has the caller's descriptors. */
  readonly inherits?: boolean;
}

/** N of `/dev/fd/N`; undefined for any other mount point. */
function givenFd(mountpoint: string): number | undefined {
  const digits = /^\/dev\/fd\/(\d{1,9})$/.exec(mountpoint)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

const DOT_WHITEOUTS =
  "FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT has no effect here: whiteouts are kernel overlayfs's, also where no device can be made";

/** Parses all `-o` lists of one command line; throws UserError with one sentence. */
export function planMount(lists: readonly string[], context: PlanContext): MountPlan {
  const { cwd, privileged, asFuseOverlayfs = false } = context;
  const options = collect(lists, cwd, privileged, asFuseOverlayfs);
  refuse(options);
  const ids = idSpec(options);
  const readOnly = options.upper === undefined || (options.flags & MS.RDONLY) !== 0;
  const fd = context.inherits === true ? givenFd(context.mountpoint) : undefined;
  const spec: OverlaySpec = Object.freeze({
    lowers: Object.freeze(options.lowers),
    ...(options.dataLayers.length === 0 ? {} : { dataLayers: Object.freeze(options.dataLayers) }),
    ...(options.upper === undefined ? {} : { upper: options.upper }),
    ...(options.work === undefined ? {} : { work: options.work }),
    readOnly,
    durability: options.volatile ? 'volatile' : options.fsync ? 'sync' : 'fsync=0',
    data: options.data,
    writeback: options.writeback ?? options.data !== 'passthrough',
    ...formatOf(options),
    redirectDir: options.redirectDir,
    // A redirect_dir that writes no redirects turns it off unless it is asked for, as in overlayfs.
    metacopy: options.metacopy ?? options.redirectDir === 'on',
    index: options.index,
    ...(options.userxattr ? { userxattr: true } : {}),
    ...(ids === undefined ? {} : { ids }),
    ...(options.xino ? { xino: options.xino } : {}),
    ...(options.xattrPermissions ? { xattrPermissions: options.xattrPermissions } : {}),
    // An ACL would act on the modes on disk, which are not those shown.
    ...(options.acl && !options.xattrPermissions ? {} : { acl: false }),
    ...(fd === undefined ? {} : { givenMount: true }),
    debug: context.debug ?? false,
  });
  return Object.freeze({
    spec,
    flags: readOnly ? options.flags | MS.RDONLY : options.flags,
    propagation: options.propagation,
    source: options.source,
    allowOther: options.allowOther || privileged,
    labels: Object.freeze(options.labels),
    notes: Object.freeze([...options.notes, ...(context.dotWhiteouts ? [DOT_WHITEOUTS] : [])]),
    mountpoint: absolute(context.mountpoint, cwd),
    ...(fd === undefined ? {} : { givenFd: fd }),
  });
}
