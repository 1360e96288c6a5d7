/** The package managers that users have, each of its own package, fetched once for a machine. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { run } from './run.js';

const CACHE = '/var/cache/stratafs-test';

/** The version of each, and the name it gets beside the others. */
const PACKAGES = {
  npm11: 'npm@11.21.2',
  npm12: 'npm@12.2.2',
  pnpm10: 'pnpm@10.34.9',
  pnpm12: 'pnpm@12.21.0',
  yarn1: 'yarn@1.22.22',
  yarn4: '@yarnpkg/cli-dist@4.18.1',
};

export interface Manager {
  readonly title: string;
  /** What installs a package of the given name in the current directory. */
  readonly add: readonly string[];
  /** What tells it of the registry. */
  readonly env: (registry: string) => Record<string, string>;
  /** Files a project needs for it. */
  readonly files?: Readonly<Record<string, string>>;
}

const npmEnv = (registry: string): Record<string, string> => ({
  npm_config_registry: registry,
  npm_config_fund: 'false',
  npm_config_audit: 'false',
});

/** All of them, installed. */
export async function packageManagers(): Promise<Manager[]> {
  const home = await installed();
  const script = (path: string): string[] => [process.execPath, `${home}/node_modules/${path}`];
  return [
    { title: 'npm 11', add: [...script('npm11/bin/npm-cli.js'), 'install'], env: npmEnv },
    { title: 'npm 12', add: [...script('npm12/bin/npm-cli.js'), 'install'], env: npmEnv },
    { title: 'pnpm 10', add: [...script('pnpm10/bin/pnpm.cjs'), 'add'], env: npmEnv },
    {
      title: 'pnpm 12',
      add: ['sh', `${home}/node_modules/pnpm12/pnpm`, 'add'],
      env: (registry) => ({ ...npmEnv(registry), pnpm_config_registry: registry }),
    },
    {
      title: 'yarn 1',
      add: [...script('yarn1/bin/yarn.js'), 'add'],
      env: (registry) => ({ ...npmEnv(registry), YARN_REGISTRY: registry }),
    },
    {
      title: 'yarn 4 with node_modules',
      add: [...script('yarn4/bin/yarn.js'), 'add'],
      files: { '.yarnrc.yml': 'nodeLinker: node-modules\n', 'yarn.lock': '' },
      env: (registry) => ({
        YARN_NPM_REGISTRY_SERVER: registry,
        YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
        YARN_ENABLE_GLOBAL_CACHE: 'false',
        YARN_ENABLE_TELEMETRY: 'false',
        YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
      }),
    },
  ];
}

async function installed(): Promise<string> {
  const specs = Object.entries(PACKAGES).map(([alias, spec]) => `${alias}@npm:${spec}`);
  const home = `${CACHE}/managers-${specs.map((spec) => spec.replace(/.*@/, '')).join('-')}`;
  if (existsSync(home)) return home;
  await mkdir(CACHE, { recursive: true });
  const making = await mkdtemp(`${CACHE}/making-`);
  try {
    await writeFile(`${making}/package.json`, '{}');
    await run('npm', ['install', '--ignore-scripts', '--no-save', '--silent', ...specs], {
      cwd: making,
      timeout: 180_000,
    });
    await run('chmod', ['-R', 'a+rX', making]);
    // Another run may have been first; its directory is as good.
    await rename(making, home).catch((error: unknown) => {
      if (!existsSync(home)) throw error;
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return home;
}
