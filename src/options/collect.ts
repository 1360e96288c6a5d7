/** What the options of one `-o` list say, each by itself. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { IdSpec } from '../overlay/shown/ids.js';
import type { OverlaySpec } from '../overlay/spec.js';
import { parseId, parseMapping } from './ids.js';
import { absolute, allOptions, cut, needPath, unescape } from './list.js';
import { MS, optionRow, type OptionRow } from './table.js';

/** What the options collect before they become a plan. */
export interface Collected {
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

/** What holds where the list says nothing. */
const nothingSaid = (privileged: boolean): Collected => ({
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
});

/** All that the lists say; throws UserError at the first option that is not understood. */
export function collect(lists: readonly string[], cwd: string, privileged: boolean): Collected {
  const into = nothingSaid(privileged);
  for (const [name, value] of allOptions(lists, cwd)) {
    const row = optionRow(name);
    if (!row) {
      throw new UserError(`unknown option '${display(name)}': see stratafs --help for the list`);
    }
    take(into, row, value, cwd);
  }
  return into;
}
