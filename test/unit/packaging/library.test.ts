/** The library from ESM, CommonJS and TypeScript, as a package in node_modules. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SETTINGS } from '../../../src/client/options.js';
import { OPTION_TABLE } from '../../../src/options/table.js';
import { REPOSITORY } from '../../support/root.js';
import { scratch } from '../../support/run.js';

const NAMES = 'StratafsError attach diff mount mountTemp mounts unmount';

describe('the library is loaded', () => {
  let base: string;

  beforeAll(() => {
    base = scratch('package');
    mkdirSync(join(base, 'node_modules/@types'), { recursive: true });
    symlinkSync(REPOSITORY, join(base, 'node_modules/stratafs'));
    symlinkSync(
      join(REPOSITORY, 'node_modules/@types/node'),
      join(base, 'node_modules/@types/node'),
    );
    writeFileSync(join(base, 'package.json'), '{"name":"user"}');
  });

  afterAll(() => {
    rmSync(base, { recursive: true });
  });

  const node = (file: string, text: string): string => {
    writeFileSync(join(base, file), text);
    return execFileSync(process.execPath, [join(base, file)], { encoding: 'utf8' }).trim();
  };

  it('by import', () => {
    const text = "import * as all from 'stratafs'; console.log(Object.keys(all).sort().join(' '))";
    expect(node('esm.mjs', text)).toBe(NAMES);
  });

  it('by require', () => {
    const text = "console.log(Object.keys(require('stratafs')).sort().join(' '))";
    expect(node('common.cjs', text)).toBe(NAMES);
  });

  const use = `import { mount, StratafsError, type MountOptions } from 'stratafs';
export async function use(options: MountOptions): Promise<string> {
  try {
    const union = await mount({ ...options, data: 'auto', uidMapping: [{ disk: 0, shown: 1, count: 2 }] });
    union.on('end', (how) => how === 'died');
    return union.mountpoint;
  } catch (error) {
    return error instanceof StratafsError && error.code === 'ERR_BUSY' ? 'busy' : 'else';
  }
}
// @ts-expect-error -- no such value
export const wrong: MountOptions = { lower: ['/a'], mountpoint: '/m', data: 'fast' };
`;
  const settings: readonly (readonly [name: string, file: string, flags: readonly string[]])[] = [
    ['node16, a module', 'use.mts', ['--module', 'node16', '--moduleResolution', 'node16']],
    ['node16, CommonJS', 'use.cts', ['--module', 'node16', '--moduleResolution', 'node16']],
    ['nodenext', 'use.mts', ['--module', 'nodenext', '--moduleResolution', 'nodenext']],
    ['bundler', 'use.ts', ['--module', 'esnext', '--moduleResolution', 'bundler']],
  ];

  it.each(settings)(
    'by TypeScript with its types: %s',
    (_, file, flags) => {
      writeFileSync(join(base, file), use);
      const tsc = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
      const args = [tsc, '--noEmit', '--strict', '--target', 'es2022', '--types', 'node', ...flags];
      let said = '';
      try {
        execFileSync(process.execPath, [...args, join(base, file)], {
          cwd: base,
          encoding: 'utf8',
        });
      } catch (error) {
        said = String((error as { readonly stdout?: unknown }).stdout);
      }
      expect(said).toBe('');
    },
    60_000,
  );
});

it('has a field for every option of a mount', () => {
  const values: Readonly<Record<string, readonly unknown[]>> = {
    accessTimes: [
      'noatime',
      'atime',
      'diratime',
      'nodiratime',
      'relatime',
      'norelatime',
      'strictatime',
      'nostrictatime',
      'lazytime',
      'nolazytime',
    ],
    propagation: [
      'private',
      'rprivate',
      'slave',
      'rslave',
      'shared',
      'rshared',
      'unbindable',
      'runbindable',
    ],
    durability: ['volatile', 'fsync=0'],
    sync: ['dirs'],
    uidMapping: [[{ disk: 0, shown: 1, count: 1 }]],
    gidMapping: [[{ disk: 0, shown: 1, count: 1 }]],
    options: [],
  };
  const tries = [true, false, 1, 'on', 'off', 'auto', 'cached', 'plain', '/x'];
  const words = Object.entries(SETTINGS).flatMap(([name, row]) =>
    [...(values[name] ?? []), ...tries].flatMap((value) => {
      try {
        return row(value, name).map((text) => text.split('=')[0]);
      } catch {
        return [];
      }
    }),
  );
  // Layers have fields of their own; the rest has no effect, or changes a mount that is there.
  const others = [
    'lowerdir',
    'lowerdir+',
    'datadir+',
    'upperdir',
    'workdir',
    'remount',
    'rw',
    'default_permissions',
  ];
  const own = OPTION_TABLE.map(({ name }) => name).slice(
    0,
    OPTION_TABLE.findIndex(({ name }) => name === 'defaults'),
  );
  expect(own.filter((name) => !others.includes(name) && !words.includes(name))).toEqual([]);
});
