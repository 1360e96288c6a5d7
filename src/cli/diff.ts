/** `stratafs diff MNT|UPPER`: what the upper changes, from the upper alone. */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { diffUpper } from '../diff/diff.js';
import { liveMounts, type Served } from '../client/ask.js';
import { look } from '../sys/paths.js';
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from '../sys/constants.js';
import { loadNative } from '../sys/native.js';
import { findTarget } from '../client/find.js';

/** One changed path, as --json prints it. */
export interface ChangeJson {
  readonly kind: 'A' | 'C' | 'D';
  /** UTF-8; where the name is not valid UTF-8 its other bytes are written \xNN. */
  readonly path: string;
  /** The exact bytes, only where `path` is not them. */
  readonly pathBase64?: string;
}

/** Pages still dirty in the kernel count: they are written to the upper first. */
function sync({ mountpoint }: Served): void {
  const native = loadNative();
  const fd = native.openat2(AT_FDCWD, mountpoint, O_RDONLY | O_DIRECTORY, 0, 0);
  const result = fd < 0 ? fd : native.syncfs(fd);
  if (fd >= 0) native.close(fd);
  if (result < 0) throw new UserError(`cannot sync ${display(mountpoint)}: ${errnoText(result)}`);
}

interface Layers {
  readonly upper: string;
  readonly lowers: readonly string[];
  readonly dataLayers?: readonly string[];
}

async function layersOf(argument: string): Promise<Layers | undefined> {
  const { path, found, mount } = await findTarget(argument);
  if (mount) {
    sync(mount);
    return mount.upper === undefined ? undefined : { ...mount, upper: mount.upper };
  }
  const user = (await liveMounts()).find(({ upper }) => {
    const seen = upper === undefined ? undefined : look(upper);
    return typeof seen === 'object' && seen.id === found.id;
  });
  if (user) sync(user);
  return { ...user, upper: path, lowers: user?.lowers ?? [] };
}

function toJson(kind: ChangeJson['kind'], path: string): ChangeJson {
  const bytes = Buffer.from(path, 'latin1');
  const text = display(path);
  return Buffer.from(text, 'utf8').equals(bytes)
    ? { kind, path: text }
    : { kind, path: text, pathBase64: bytes.toString('base64') };
}

/** The output, as latin1: paths are printed byte for byte, one line each. */
export async function diffText(argument: string, json: boolean): Promise<string> {
  const layers = await layersOf(argument);
  const changes = layers ? [...diffUpper(layers.upper, layers.lowers, layers.dataLayers)] : [];
  if (!json) return changes.map(({ kind, path }) => `${kind} ${path}\n`).join('');
  const lines = changes.map(({ kind, path }) => JSON.stringify(toJson(kind, path)));
  const text = lines.length === 0 ? '[]\n' : `[\n${lines.join(',\n')}\n]\n`;
  return Buffer.from(text, 'utf8').toString('latin1');
}
