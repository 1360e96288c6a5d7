import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { differences, manifest, type Manifest } from './support/manifest.js';
import { debianLayers } from './support/rootfs.js';
import { bash } from './support/run.js';
import { MOUNTS, withScratch, withUnion, type Driver } from './support/union.js';

/** Copies of the whole union, made inside the mount and outside, each a manifest. */
interface Copies {
  readonly merged: Manifest;
  readonly inside: Manifest;
  readonly outside: Manifest;
}

/** `copy` gets $FROM and $TO; it is run from the mount into itself, and into a plain directory. */
async function copies(driver: Driver, copy: string): Promise<Copies> {
  const lowers = await debianLayers();
  return withUnion(driver, lowers, ({ mountpoint }) =>
    withScratch(async (dir) => {
      const from = `${mountpoint}/usr/share`;
      const changes = [
        'rm -rf usr/share/zoneinfo; mv odd usr/share/odd',
        // rsync takes times of the same second for equal; the copy is not made in that second.
        'touch -d "2001-02-03 04:05:06.789012345" usr/share',
      ];
      await bash(changes.join('; '), { cwd: mountpoint });
      const [inside, outside] = [`${mountpoint}/copy`, `${dir}/copy`];
      for (const to of [inside, outside]) {
        await bash(copy, { env: { FROM: from, TO: to }, timeout: 120_000 });
      }
      return {
        merged: await manifest(from),
        inside: await manifest(inside),
        outside: await manifest(outside),
      };
    }),
  );
}

async function compare(copy: string): Promise<void> {
  const ours = await copies('stratafs', copy);
  const kernel = await copies('kernel', copy);
  expect(ours.inside.size).toBeGreaterThan(1000);
  for (const which of ['inside', 'outside'] as const) {
    expect(differences(ours[which], ours.merged), `${which} is not what it was made from`).toEqual(
      [],
    );
    expect(differences(ours[which], kernel[which])).toEqual([]);
  }
}

describe.skipIf(
  !has({ ...MOUNTS, kernelOverlay: true, programs: ['debootstrap', 'tar', 'rsync', 'getfattr'] }),
)('copies of a tree keep modes, owners, times in ns, hard links, xattrs and ACLs', () => {
  it('by tar --xattrs --acls', async () => {
    const flags = "--xattrs --xattrs-include='*' --acls --numeric-owner";
    await compare(
      `mkdir "$TO"; tar -C "$FROM" --format=posix ${flags} -cf - . | tar -C "$TO" -p ${flags} -xf -`,
    );
  });

  it('by rsync -aHAX, and a second run finds nothing to do', async () => {
    await compare(`
rsync -aHAX --numeric-ids "$FROM/" "$TO"
again=$(rsync -aHAX --numeric-ids --itemize-changes "$FROM/" "$TO")
[ -z "$again" ] || { echo "the second run copied: $again" >&2; exit 1; }`);
  });

  it('by cp -a over an existing tree of the lower layers', async () => {
    const lowers = await debianLayers();
    await withUnion('stratafs', lowers, async ({ mountpoint }) => {
      await bash(
        'cp -a usr/share/doc copy; cp -aT copy usr/share/doc; diff -r copy usr/share/doc',
        {
          cwd: mountpoint,
        },
      );
      expect(await readFile(`${mountpoint}/usr/share/common-licenses/FRESH`, 'utf8')).toBe(
        'fresh\n',
      );
    });
  });
});
