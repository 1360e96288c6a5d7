/**
 * The `-o` list: `key[=value],...`. Strings here are latin1, one character per byte.
 */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { IdSpec } from '../overlay/ids.js';
import type { OverlaySpec } from '../overlay/spec.js';
import { readOptionsFile } from './optionsFile.js';
import { parseId, parseMapping } from './idOptions.js';
import { MS, optionRow, type OptionRow } from './optionTable.js';

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
}

/** Cuts at each of `separators` that is neither escaped by a backslash nor inside double quotes. */
function cut(text: string, separators: string, quotes: boolean): string[] {
  const parts: string[] = [];
  let from = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (quotes && text[i] === '"') quoted = !quoted;
    else if (!quoted && separators.includes(text[i])) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

/** `\,`, `\:` and `\\` stand for the second character; any other backslash for itself. */
const unescape = (text: string): string => text.replace(/\\([,:\\])/g, '$1');

type Option = [name: string, value: string | undefined];

/** The options of every `-o`, in order, with the values still escaped. */
export function splitOptions(lists: readonly string[], separators = ','): Option[] {
  return lists
    .flatMap((list) => cut(list, separators, true))
    .filter((option) => option !== '')
    .map((option) => {
      const equals = option.indexOf('=');
      return equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)];
    });
}

/** The same with the contents of each `optionsfile` in its place; there a newline is a comma, too. */
function allOptions(lists: readonly string[], cwd: string): Option[] {
  return splitOptions(lists).flatMap((option) => {
    const [name, value] = option;
    if (name !== 'optionsfile') return [option];
    const path = absolute(unescape(needPath(name, value)), cwd);
    return splitOptions([readOptionsFile(path)], ',\n');
  });
}

/** The paths of a `lowerdir`, without its escapes; data-only ones too. */
export const splitLayers = (value: string): string[] =>
  cut(value, ':', false)
    .filter((part) => part !== '')
    .map(unescape);

/** Absolute: relative layer paths mean the caller's directory, not the host's. */
export const absolute = (path: string, cwd: string): string =>
  path.startsWith('/') ? path : `${cwd === '/' ? '' : cwd}/${path}`;

/** What the options collect before they become a plan. */
interface Collected {
  lowers: string[];
  dataLayers: string[];
  /** The layers were given by `lowerdir`. */
  listed: boolean;
  upper: string | undefined;
  work: string | undefined;
  flags: number;
  propagation: number;
  source: string;
  allowOther: boolean;
  volatile: boolean;
  fsync: boolean;
  data: OverlaySpec['data'];
  /** Undefined: not said. */
  writeback: boolean | undefined;
  redirectDir: OverlaySpec['redirectDir'];
  /** Undefined: not said. */
  metacopy: boolean | undefined;
  index: OverlaySpec['index'];
  ids: { -readonly [key in keyof IdSpec]: IdSpec[key] };
  squash: boolean;
  userxattr: boolean;
  xattrPermissions: 1 | 2 | undefined;
  xino: OverlaySpec['xino'];
  /** Options that were given a value other than "off". */
  asked: Set<string>;
  acl: boolean;
  labels: string[];
}

function needPath(name: string, value: string | undefined): string {
  if (value === undefined || value === '') {
    throw new UserError(
      `option ${name} needs a path, as in ${name}=${name === 'optionsfile' ? 'FILE' : 'DIR'}`,
    );
  }
  return value;
}

/** `A:B::D1::D2`: layers after a single colon are merged, after two data-only (ovl_parse_param_lowerdir). */
function takeLowers(into: Collected, value: string, cwd: string): void {
  into.lowers = [];
  into.dataLayers = [];
  into.listed = true;
  let data = false;
  const parts = cut(value, ':', false);
  for (const [i, part] of parts.entries()) {
    if (part === '') {
      if (i === 0 || i === parts.length - 1 || data) {
        throw new UserError(
          'lowerdir has a colon without a layer beside it: A:B merges, A::D adds the data-only layer D, and a colon in a name is written \\:',
        );
      }
      data = true;
      continue;
    }
    const path = absolute(unescape(part), cwd);
    if (data) into.dataLayers.push(path);
    else into.lowers.push(path);
    if (!data && into.dataLayers.length > 0) throw mergedAfterData(path);
    data = false;
  }
}

const mergedAfterData = (path: string): UserError =>
  new UserError(
    `lower layer ${display(path)} comes after a data-only layer: put data-only layers last`,
  );

/** `lowerdir+` and `datadir+`: one more layer below those before it, its colons as they are. */
function addLower(into: Collected, name: string, value: string, cwd: string): void {
  if (into.listed) {
    throw new UserError(
      `option ${name} cannot follow lowerdir: give all layers in one of the ways`,
    );
  }
  const path = absolute(unescape(value), cwd);
  if (name === 'datadir+') into.dataLayers.push(path);
  else if (into.dataLayers.length > 0) throw mergedAfterData(path);
  else into.lowers.push(path);
}

function takePath(into: Collected, name: string, given: string | undefined, cwd: string): void {
  const value = needPath(name, given);
  if (name === 'lowerdir') takeLowers(into, value, cwd);
  else if (name === 'lowerdir+' || name === 'datadir+') addLower(into, name, value, cwd);
  else if (name === 'upperdir') into.upper = absolute(unescape(value), cwd);
  else into.work = absolute(unescape(value), cwd);
}

function takeSwitch(into: Collected, name: string, value: string | undefined): void {
  if (value !== '0' && value !== '1') {
    throw new UserError(`option ${name} takes 0 or 1, not '${display(value ?? '')}'`);
  }
  if (name === 'fsync') into.fsync = value === '1';
  else into.writeback = value === '1';
}

function takeChoice(into: Collected, row: OptionRow, value: string | undefined): void {
  const choices = row.choices ?? [];
  if (value === undefined || !choices.includes(value)) {
    const given = display(value ?? '');
    throw new UserError(`option ${row.name} takes ${choices.join(', ')}, not '${given}'`);
  }
  if (row.name === 'verity') refuseVerity(value);
  else if (row.name === 'xino') into.xino = value as OverlaySpec['xino'];
  else if (row.name === 'data') into.data = value as OverlaySpec['data'];
  else if (row.name === 'xattr_permissions') into.xattrPermissions = value === '1' ? 1 : 2;
  else takeFeature(into, row.name, value);
}

/** Both promise that data are what a digest says; rather no mount than one that does not look. */
function refuseVerity(value: string): void {
  if (value === 'off') return;
  throw new UserError(
    `option verity=${value} needs fs-verity digests to be checked, which stratafs does not do: leave it out, or mount with kernel overlayfs`,
  );
}

/** What kernel overlayfs and we write into an upper. */
function takeFeature(into: Collected, name: string, value: string): void {
  if (value === 'off' || value === 'nofollow') into.asked.delete(name);
  else into.asked.add(name);
  if (name === 'metacopy') into.metacopy = value === 'on';
  else if (name === 'index') into.index = value === 'on' ? 'on' : 'off';
  else into.redirectDir = value === 'on' || value === 'nofollow' ? value : 'follow';
}

function takeWord(into: Collected, name: string): void {
  if (name === 'volatile') into.volatile = true;
  else if (name === 'userxattr') into.userxattr = true;
  else if (name === 'squash_to_root') into.squash = true;
  else if (name === 'noacl') into.acl = false;
  else into.allowOther = true;
}

function takeIds(into: Collected, name: string, value: string | undefined): void {
  if (name === 'uidmapping') into.ids.uids = parseMapping(name, value);
  else if (name === 'gidmapping') into.ids.gids = parseMapping(name, value);
  else if (name === 'squash_to_uid') into.ids.squashUid = parseId(name, value);
  else into.ids.squashGid = parseId(name, value);
}

function takeLabel(into: Collected, name: string, value: string | undefined): void {
  if (value === undefined || value === '' || value === '""') {
    throw new UserError(`option ${name} needs a SELinux label, as in ${name}="LABEL"`);
  }
  into.labels = [...into.labels.filter((each) => !each.startsWith(`${name}=`)), `${name}=${value}`];
}

function refuseLater(name: string, value: string | undefined): never {
  const shown = value === undefined ? name : `${name}=${display(value)}`;
  throw new UserError(`option ${shown} is not supported yet: leave it out`);
}

function take(into: Collected, row: OptionRow, value: string | undefined, cwd: string): void {
  const { name, kind } = row;
  if (value !== undefined && ['flag', 'word', 'propagation'].includes(kind)) {
    throw new UserError(`option ${name} takes no value: write it without '=${display(value)}'`);
  }
  switch (kind) {
    case 'path':
      takePath(into, name, value, cwd);
      return;
    case 'flag':
      into.flags = (into.flags & ~(row.clear ?? 0)) | (row.set ?? 0);
      return;
    case 'switch':
      takeSwitch(into, name, value);
      return;
    case 'choice':
      takeChoice(into, row, value);
      return;
    case 'word':
      takeWord(into, name);
      return;
    case 'mapping':
    case 'id':
      takeIds(into, name, value);
      return;
    case 'label':
      takeLabel(into, name, value);
      return;
    case 'propagation':
      into.propagation = row.set ?? 0;
      return;
    case 'text':
      into.source = unescape(value ?? '') || into.source;
      return;
    case 'later':
      refuseLater(name, value);
      return;
    case 'file':
      throw new UserError(
        `option ${name} stands in an options file: name every file on the command line`,
      );
    case 'ignored':
      return;
  }
}

function collect(lists: readonly string[], cwd: string, privileged: boolean): Collected {
  const into: Collected = {
    lowers: [],
    dataLayers: [],
    listed: false,
    upper: undefined,
    work: undefined,
    flags: privileged ? 0 : MS.NOSUID | MS.NODEV,
    propagation: 0,
    source: 'stratafs',
    allowOther: false,
    volatile: false,
    fsync: true,
    data: 'cached',
    writeback: undefined,
    redirectDir: 'on',
    metacopy: undefined,
    index: 'auto',
    ids: { uids: [], gids: [], squashUid: undefined, squashGid: undefined },
    squash: false,
    userxattr: false,
    xattrPermissions: undefined,
    xino: undefined,
    asked: new Set(),
    acl: true,
    labels: [],
  };
  for (const [name, value] of allOptions(lists, cwd)) {
    const row = optionRow(name);
    if (!row) {
      throw new UserError(`unknown option '${display(name)}': see stratafs --help for the list`);
    }
    take(into, row, value, cwd);
  }
  return into;
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

/** Where relative paths start, who asks, and what the command line says besides the list. */
export interface PlanContext {
  readonly cwd: string;
  readonly mountpoint: string;
  /** euid 0: devices and set-user-ID bits are honoured unless the options say otherwise. */
  readonly privileged: boolean;
  readonly debug?: boolean;
}

/** Parses all `-o` lists of one command line; throws UserError with one sentence. */
export function planMount(lists: readonly string[], context: PlanContext): MountPlan {
  const options = collect(lists, context.cwd, context.privileged);
  refuse(options);
  const ids = idSpec(options);
  const readOnly = options.upper === undefined || (options.flags & MS.RDONLY) !== 0;
  const spec: OverlaySpec = Object.freeze({
    lowers: Object.freeze(options.lowers),
    ...(options.dataLayers.length === 0 ? {} : { dataLayers: Object.freeze(options.dataLayers) }),
    ...(options.upper === undefined ? {} : { upper: options.upper }),
    ...(options.work === undefined ? {} : { work: options.work }),
    readOnly,
    durability: options.volatile ? 'volatile' : options.fsync ? 'sync' : 'fsync=0',
    data: options.data,
    writeback: options.writeback ?? options.data !== 'passthrough',
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
    debug: context.debug ?? false,
  });
  return Object.freeze({
    spec,
    flags: readOnly ? options.flags | MS.RDONLY : options.flags,
    propagation: options.propagation,
    source: options.source,
    allowOther: options.allowOther || context.privileged,
    labels: Object.freeze(options.labels),
    mountpoint: absolute(context.mountpoint, context.cwd),
  });
}
