/**
 * The `-o` list: `key[=value],...`. Strings here are latin1, one character per byte.
 */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { OverlaySpec } from '../overlay/spec.js';
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
  /** Absolute path, as asked for. */
  readonly mountpoint: string;
}

/** Cuts at each `separator` that is neither escaped by a backslash nor inside double quotes. */
function cut(text: string, separator: string, quotes: boolean): string[] {
  const parts: string[] = [];
  let from = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (quotes && text[i] === '"') quoted = !quoted;
    else if (text[i] === separator && !quoted) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

/** `\,`, `\:` and `\\` stand for the second character; any other backslash for itself. */
const unescape = (text: string): string => text.replace(/\\([,:\\])/g, '$1');

/** The options of every `-o`, in order: [name, value] with the value still escaped. */
export function splitOptions(
  lists: readonly string[],
): [name: string, value: string | undefined][] {
  return lists
    .flatMap((list) => cut(list, ',', true))
    .filter((option) => option !== '')
    .map((option) => {
      const equals = option.indexOf('=');
      return equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)];
    });
}

/** Absolute: relative layer paths mean the caller's directory, not the host's. */
export const absolute = (path: string, cwd: string): string =>
  path.startsWith('/') ? path : `${cwd === '/' ? '' : cwd}/${path}`;

/** What the options collect before they become a plan. */
interface Collected {
  lowers: string[];
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
  metacopy: boolean;
}

function lowerList(value: string, cwd: string): string[] {
  const parts = cut(value, ':', false);
  if (parts.length > 1 && parts.includes('')) {
    throw new UserError(
      'lowerdir has an empty path between two colons: data-only layers (::) are not supported yet, and a colon in a name is written \\:',
    );
  }
  return parts.filter((part) => part !== '').map((part) => absolute(unescape(part), cwd));
}

function takePath(into: Collected, name: string, value: string | undefined, cwd: string): void {
  if (value === undefined || value === '') {
    throw new UserError(`option ${name} needs a path, as in ${name}=DIR`);
  }
  if (name === 'lowerdir') into.lowers = lowerList(value, cwd);
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
  if (row.name === 'metacopy') into.metacopy = value === 'on';
  else if (row.name === 'data') into.data = value === 'passthrough' ? value : 'cached';
  else into.redirectDir = value === 'on' || value === 'nofollow' ? value : 'follow';
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
      if (name === 'volatile') into.volatile = true;
      else into.allowOther = true;
      return;
    case 'propagation':
      into.propagation = row.set ?? 0;
      return;
    case 'text':
      into.source = unescape(value ?? '') || into.source;
      return;
    case 'off':
      if (value !== 'off') refuseLater(name, value);
      return;
    case 'later':
      refuseLater(name, value);
      return;
    case 'ignored':
      return;
  }
}

function collect(lists: readonly string[], cwd: string, privileged: boolean): Collected {
  const into: Collected = {
    lowers: [],
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
    metacopy: true,
  };
  for (const [name, value] of splitOptions(lists)) {
    const row = optionRow(name);
    if (!row) {
      throw new UserError(`unknown option '${display(name)}': see stratafs --help for the list`);
    }
    take(into, row, value, cwd);
  }
  return into;
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
  const readOnly = options.upper === undefined || (options.flags & MS.RDONLY) !== 0;
  const spec: OverlaySpec = Object.freeze({
    lowers: Object.freeze(options.lowers),
    ...(options.upper === undefined ? {} : { upper: options.upper }),
    ...(options.work === undefined ? {} : { work: options.work }),
    readOnly,
    durability: options.volatile ? 'volatile' : options.fsync ? 'sync' : 'fsync=0',
    data: options.data,
    writeback: options.writeback ?? options.data === 'cached',
    redirectDir: options.redirectDir,
    metacopy: options.metacopy,
    debug: context.debug ?? false,
  });
  return Object.freeze({
    spec,
    flags: readOnly ? options.flags | MS.RDONLY : options.flags,
    propagation: options.propagation,
    source: options.source,
    allowOther: options.allowOther || context.privileged,
    mountpoint: absolute(context.mountpoint, context.cwd),
  });
}
