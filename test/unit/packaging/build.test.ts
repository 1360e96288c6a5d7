/** What `npm install` says where the native parts cannot be built. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REPOSITORY } from '../../support/root.js';

const build = (path: string) =>
  spawnSync(process.execPath, [join(REPOSITORY, 'native/build.js'), 'build'], {
    env: { PATH: path },
    encoding: 'utf8',
  });

test('missing tools are one sentence with the line that installs them', () => {
  const bin = mkdtempSync(join(tmpdir(), 'stratafs-build-'));
  try {
    const none = build(bin);
    expect([none.status, none.stdout]).toEqual([1, '']);
    expect(none.stderr).toBe(
      'stratafs: cannot build the native parts, python3, make, g++ not found: ' +
        'apt-get install python3 make g++\n',
    );
    for (const name of ['python3', 'make']) symlinkSync('/bin/true', join(bin, name));
    expect(build(bin).stderr).toMatch(/parts, g\+\+ not found: apt-get install g\+\+\n$/);
  } finally {
    rmSync(bin, { recursive: true });
  }
});

test('the lock file has a build of each platform for what it locks', () => {
  const { packages } = JSON.parse(readFileSync(join(REPOSITORY, 'package-lock.json'), 'utf8')) as {
    readonly packages: Record<string, { readonly optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.values(packages).flatMap(({ optionalDependencies }) =>
    Object.keys(optionalDependencies ?? {}).filter((name) => !(`node_modules/${name}` in packages)),
  );
  expect(missing).toEqual([]);
});
