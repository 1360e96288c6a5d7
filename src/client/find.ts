/** Finds the live mount that a path on the command line means. */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { askForMounts, liveMounts, type Served } from './ask.js';
import { deviceAt, placesOf, statDevice } from '../sys/mountTable.js';
import { absolute } from '../options/list.js';
import { type Found, look, realpath } from '../sys/paths.js';
import { workingDirectory } from '../wire/sockets.js';

interface Target {
  readonly path: string;
  readonly found: Found;
  /** The live mount whose mount point `path` is. */
  readonly mount?: Served;
}

/** Looks a directory up; throws UserError when it is none, or lies inside a mount. */
export async function findTarget(argument: string): Promise<Target> {
  const path = absolute(argument, workingDirectory());
  const mounts = await liveMounts();
  const found = look(path);
  if (typeof found === 'number') {
    throw new UserError(`cannot read ${display(path)}: ${errnoText(found)}`);
  }
  if (!found.isDirectory) throw new UserError(`${display(path)} is not a directory`);
  const mount = mounts.find(({ device }) => statDevice(device) === found.device);
  if (!mount) return { path, found };
  const resolved = realpath(path);
  if (typeof resolved === 'number' || !placesOf(mount.device).includes(resolved)) {
    throw new UserError(
      `${display(path)} lies inside the mount on ${display(mount.mountpoint)}: name the mount point`,
    );
  }
  return { path, found, mount };
}

/**
 * The live mount on `argument`; throws UserError when there is none. Asks nothing of the mount itself,
 * which may not answer.
 */
export async function findMounted(argument: string): Promise<Served> {
  const path = absolute(argument, workingDirectory());
  const resolved = realpath(path);
  if (typeof resolved === 'number') {
    throw new UserError(`cannot read ${display(path)}: ${errnoText(resolved)}`);
  }
  const { mounts, silent } = await askForMounts();
  const device = deviceAt(resolved);
  const mount = mounts.find((each) => each.device === device);
  if (mount) return mount;
  if (silent.length > 0) {
    throw new UserError(
      `nobody who answers serves ${display(path)}, and the host at ${silent[0]} is stopped`,
    );
  }
  throw new UserError(`${display(path)} is not a mount point of stratafs: see stratafs mounts`);
}
