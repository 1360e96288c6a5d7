/** `stratafs diff MNT` and `stratafs diff --upper U --lower A:B`: what the upper changes, from the upper alone. */
import { packLayer } from '../archive/pack.js';
import { display } from '../base/bytes.js';
import { errnoText, UsageError, UserError } from '../base/errno.js';
import { liveMounts, type Served } from '../client/ask.js';
import { findTarget } from '../client/find.js';
import { type Change, diffUpper } from '../diff/diff.js';
import { changeJson } from '../diff/json.js';
import { absolute, splitLayers } from '../options/list.js';
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from '../sys/constants.js';
import { loadNative } from '../sys/native.js';
import { look } from '../sys/paths.js';
import { workingDirectory } from '../wire/sockets.js';
import { command } from './frame/command.js';
import { printBytes, say, shownPath } from './frame/output.js';

/** Pages still dirty in the kernel count: they are written to the upper first. */
function sync({ mountpoint }: Served): void {
  const native = loadNative();
  const fd = native.openat2(AT_FDCWD, mountpoint, O_RDONLY | O_DIRECTORY, 0, 0);
  const result = fd < 0 ? fd : native.syncfs(fd);
  if (fd >= 0) native.close(fd);
  if (result < 0) throw new UserError(`cannot sync ${display(mountpoint)}: ${errnoText(result)}`);
}

interface Asked {
  /** A mount point; empty when `upper` is given, with the lower layers as they are given. */
  readonly path: string;
  readonly upper?: string;
  readonly lower?: string;
  readonly json: boolean;
  readonly stat: boolean;
  readonly tar: boolean;
  /** Lines end with NUL. */
  readonly zero: boolean;
}

interface Layers {
  readonly upper: string;
  readonly lowers: readonly string[];
  readonly dataLayers?: readonly string[];
}

/** Undefined: a mount without an upper, which changes nothing. */
async function layersOf(asked: Asked): Promise<Layers | undefined> {
  if (asked.upper !== undefined) return bareLayers(asked.upper, asked.lower);
  const mount = await mountAt(asked.path);
  sync(mount);
  return mount.upper === undefined ? undefined : { ...mount, upper: mount.upper };
}

/** The live mount on a path; throws UserError when there is none. */
async function mountAt(given: string): Promise<Served> {
  const { path, mount } = await findTarget(given);
  if (mount) return mount;
  throw new UserError(
    `${display(path)} is not a mount point of stratafs: name one (stratafs mounts), or give --upper DIR and --lower A[:B...]`,
  );
}

/** Layers that are named, and not those of a mount; one that has the upper writes to it first. */
async function bareLayers(given: string, lower: string | undefined): Promise<Layers> {
  const cwd = workingDirectory();
  const upper = absolute(given, cwd);
  const found = directory('upper', upper);
  const lowers = lower === undefined ? [] : splitLayers(lower).map((path) => absolute(path, cwd));
  for (const path of lowers) directory('lower layer', path);
  const user = (await liveMounts()).find((mount) => {
    const seen = mount.upper === undefined ? undefined : look(mount.upper);
    return typeof seen === 'object' && seen.id === found;
  });
  if (user) sync(user);
  if (lower === undefined) {
    say(
      `stratafs: without --lower it is not known what ${display(upper)} lies over: changed is what a driver marked as copied, and what lies below a moved or replaced directory is not told`,
    );
  }
  return { upper, lowers };
}

/** The identity of a directory. */
function directory(role: string, path: string): string {
  const found = look(path);
  if (typeof found === 'number') {
    throw new UserError(`${role} ${display(path)} cannot be read: ${errnoText(found)}`);
  }
  if (!found.isDirectory) throw new UserError(`${role} ${display(path)} is not a directory`);
  return found.id;
}

function jsonOf(changes: readonly Change[], sizes: boolean): string {
  const lines = changes.map((change) => JSON.stringify(changeJson(change, sizes)));
  const text = lines.length === 0 ? '[]\n' : `[\n${lines.join(',\n')}\n]\n`;
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The list, as latin1: paths are printed byte for byte but on a terminal. */
function listOf(changes: readonly Change[], asked: Asked): string {
  const { stat, zero } = asked;
  const name = zero ? (path: string): string => path : shownPath;
  const end = zero ? '\0' : '\n';
  const width = Math.max(1, ...changes.map(({ size }) => String(size ?? '-').length));
  const sizeOf = ({ size }: Change): string => `${String(size ?? '-').padStart(width)} `;
  const lines = changes.map(
    (change) => `${change.kind} ${stat ? sizeOf(change) : ''}${name(change.path)}${end}`,
  );
  return lines.join('') + (stat && !zero ? summary(changes) : '');
}

function summary(changes: readonly Change[]): string {
  const count = (wanted: string): number => changes.filter(({ kind }) => kind === wanted).length;
  const bytes = changes.reduce((sum, { size }) => sum + (size ?? 0), 0);
  return `${count('A')} added, ${count('C')} changed, ${count('D')} deleted; ${bytes} bytes in files\n`;
}

/** The changes as a layer archive, on standard output. */
async function writeTar(layers: Layers): Promise<void> {
  if (process.stdout.isTTY) {
    throw new UserError('diff --tar writes an archive: send it to a file or a program');
  }
  const { upper, lowers, dataLayers } = layers;
  const source = { kind: 'changes', upper, lowers, ...(dataLayers ? { dataLayers } : {}) } as const;
  const packed = await packLayer(source, (bytes) => {
    printBytes(bytes);
  });
  for (const warning of packed.warnings) say(`stratafs: ${warning}`);
}

/** Prints what a mount or an upper changes. Resolves with the exit status. */
async function runDiff(asked: Asked): Promise<number> {
  const layers = await layersOf(asked);
  if (asked.tar) {
    if (!layers) throw new UserError('the mount has no upper, so there is no layer to write');
    await writeTar(layers);
    return 0;
  }
  const changes = layers ? diffUpper(layers.upper, layers.lowers, layers.dataLayers) : [];
  const text = asked.json ? jsonOf(changes, asked.stat) : listOf(changes, asked);
  printBytes(Buffer.from(text, 'latin1'));
  return 0;
}

/** One path of a mount: from its root, with or without the slash. */
async function runWhere(mountpoint: string, path: string, json: boolean): Promise<number> {
  const mount = await mountAt(mountpoint);
  sync(mount);
  const { printWhere } = await import('./where.js');
  printWhere(mount, path, json);
  return 0;
}

const FORM = 'stratafs diff MNT [PATH], or stratafs diff --upper DIR --lower A[:B...]';

/** What does not go together; throws UsageError. */
function checkForm(asked: Asked, paths: number): void {
  const { upper, lower, json, stat, tar, zero } = asked;
  if (upper !== undefined ? paths > 0 : paths < 1 || paths > 2) {
    throw new UsageError(`diff takes one path: ${FORM}`);
  }
  if (paths === 2 && (stat || tar || zero)) {
    throw new UsageError('--stat, --tar and -z are about all changes: leave PATH out');
  }
  if (lower !== undefined && upper === undefined) {
    throw new UsageError(`--lower goes with --upper: ${FORM}`);
  }
  if (tar && (json || stat || zero)) {
    throw new UsageError('--tar writes an archive: it goes with no form of the list');
  }
  if (json && zero) throw new UsageError('--json and -z are two forms of the list: give one');
}

export const diff = command({
  usage: 'diff [OPTIONS] MNT [PATH]',
  about:
    'Show what was added (A), changed (C) and deleted (D) in a mount, or in an upper directory',
  flags: {
    upper: {
      kind: 'path',
      value: 'DIR',
      help: 'The changes in this directory, instead of a mount',
    },
    lower: { kind: 'path', value: 'A[:B...]', help: 'With --upper: the layers it lies over' },
    json: { kind: 'bool', help: 'Print JSON' },
    stat: { kind: 'bool', help: 'Also the sizes of files, and a summary' },
    tar: { kind: 'bool', help: 'Write the changes as a layer archive to standard output' },
    null: { kind: 'bool', short: 'z', help: 'End lines with NUL, and write names as they are' },
  },
  args: [0, Infinity],
  plain: true,
  notes: [
    'With PATH (from the root of the mount): which layer gives it, and what that hides in the layers below.',
  ],
  run({ values, rawArgs }) {
    const { upper, lower, json, stat, tar, null: zero } = values;
    const asked: Asked = {
      ...{ path: rawArgs.at(0) ?? '', json, stat, tar, zero },
      ...(upper === undefined ? {} : { upper }),
      ...(lower === undefined ? {} : { lower }),
    };
    checkForm(asked, rawArgs.length);
    return rawArgs.length === 2 ? runWhere(rawArgs[0], rawArgs[1], json) : runDiff(asked);
  },
});
