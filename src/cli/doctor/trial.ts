/** Whether a mount works here: tried with a small one that is taken away again. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../base/errno.js';
import { mount, type Mount, type MountOptions } from '../../client/mount.js';
import { check, type Check, ok } from './check.js';

const CONTENT = 'what a lower has\n';

interface Places {
  readonly base: string;
  readonly options: MountOptions & { readonly mountpoint: string };
}

function places(directory: string): Places {
  const base = mkdtempSync(join(directory, '.stratafs-doctor-'));
  const [lower, upper, work, mountpoint] = ['lower', 'upper', 'work', 'mnt'].map((name) => {
    mkdirSync(join(base, name));
    return join(base, name);
  });
  writeFileSync(join(lower, 'file'), CONTENT);
  return { base, options: { lower: [lower], upper, work, mountpoint } };
}

/** What `look` finds on a mount with these options. The mount is taken away, whatever happens. */
async function tried(
  { options }: Places,
  more: Partial<MountOptions>,
  look: (union: Mount) => Promise<Check>,
): Promise<Check> {
  const union = await mount({ ...options, ...more });
  try {
    if (readFileSync(join(options.mountpoint, 'file'), 'utf8') !== CONTENT) {
      throw new UserError('a file of a lower reads wrongly');
    }
    writeFileSync(join(options.mountpoint, 'file'), 'changed');
    return await look(union);
  } finally {
    await union.unmount({ lazy: true });
  }
}

async function plane(at: Places): Promise<Check> {
  try {
    return await tried(at, { data: 'passthrough' }, () =>
      Promise.resolve(
        ok('passthrough', 'data=passthrough works: the kernel reads and writes the layers itself'),
      ),
    );
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const cure = 'it needs Linux 6.9 with CONFIG_FUSE_PASSTHROUGH, and root';
    return check(
      'passthrough',
      'note',
      error.message,
      'data=cached is used, which is as fast once files are in the page cache',
      cure,
    );
  }
}

/** Tries in a place of its own below `directory`, which is removed. */
async function inPlaces(directory: string, act: (at: Places) => Promise<Check>): Promise<Check> {
  const at = places(directory);
  try {
    return await act(at);
  } finally {
    rmSync(at.base, { recursive: true, force: true });
  }
}

/** `directory`: where the layers of the mounts that are tried lie; it can be written to. */
export async function trial(directory: string): Promise<Check[]> {
  try {
    const works = await inPlaces(directory, (at) =>
      tried(at, {}, async (union) => {
        const { protocol } = await union.stats();
        return ok('mount', `a union is mounted and changed, over FUSE protocol ${protocol}`);
      }),
    );
    return [works, await inPlaces(directory, plane)];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return [
      check('mount', 'fail', error.message, 'no union can be mounted here', 'see stratafs logs'),
    ];
  }
}
