/**
 * The npm packages: what they hold, and that every package manager installs them whole although none
 * runs an install script.
 */
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { REPOSITORY } from '../support/root.js';
import { type Manager, packageManagers } from './support/managers.js';
import { type Registry, startRegistry } from './support/registry.js';
import { type Finished, run, type RunOptions } from './support/run.js';
import { withScratch } from './support/union.js';

const MINUTE = 60_000;
const { version: VERSION } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as {
  readonly version: string;
};
const NATIVE = `@stratafs/linux-${process.arch}-gnu`;
/** An account that every system has, without rights. */
const USER = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups'];

/** Mounts, reads, changes and unmounts with the command $1, in the new directory $2. */
const USE = `
mkdir -p "$2"; cd "$2"; mkdir low up work mnt; echo hello > low/f
export XDG_RUNTIME_DIR="$2" STRATAFS_GRACE=0
"$1" -o lowerdir=low,upperdir=up,workdir=work mnt
cat mnt/f; echo more > mnt/g
"$1" mounts | grep -c "$2/mnt"
"$1" unmount mnt; cat up/g`;
/** The same for a program, in the directory that it is given. */
const LIBRARY = `
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mount } from 'stratafs';
process.chdir(process.argv[1]); process.env.XDG_RUNTIME_DIR = process.argv[1];
for (const name of ['low', 'mnt']) mkdirSync(name);
writeFileSync('low/f', 'hello\\n');
const mounted = await mount({ lower: ['low'], mountpoint: 'mnt' });
process.stdout.write(readFileSync('mnt/f'));
await mounted.unmount();`;
const USED = 'hello\n1\nmore\n';

/** In a mount namespace of its own, in which everybody may open /dev/fuse. */
const ALONE = `
mount -t tmpfs none "$0"; mknod -m 666 "$0/fuse" c 10 229; mount --bind "$0/fuse" /dev/fuse
umount -l "$0"; exec "$@"`;

/** Runs `command` in a mount namespace of its own; `who` goes before it. */
function alone(
  scratch: string,
  who: readonly string[],
  command: readonly string[],
): Promise<Finished> {
  const own = ['--mount', '--propagation', 'private', 'sh', '-euc', ALONE, scratch];
  return run('unshare', [...own, ...who, ...command], { cwd: scratch, timeout: 2 * MINUTE });
}

const use = (
  scratch: string,
  who: readonly string[],
  command: string,
  where: string,
): Promise<Finished> => alone(scratch, who, ['sh', '-euc', USE, 'sh', command, where]);

describe.skipIf(
  !has({
    root: true,
    fuse: true,
    stratafs: true,
    programs: ['setpriv', 'fusermount3', 'g++'],
    mountNamespaces: true,
  }),
)('the npm packages', () => {
  let packages: string;
  let tarballs: string[];
  let registry: Registry;
  let managers: Manager[];

  beforeAll(async () => {
    packages = await mkdtemp('/var/tmp/stratafs-packages-');
    await run(process.execPath, ['packaging/package.js', 'npm', process.arch], {
      cwd: REPOSITORY,
      env: { STRATAFS_PACKAGES: packages },
      timeout: 5 * MINUTE,
    });
    const made = await readdir(packages);
    tarballs = made.filter((name) => name.endsWith('.tgz')).sort();
    const cpu = process.arch === 'x64' ? 'arm64' : 'x64';
    registry = await startRegistry(
      tarballs.map((name) => join(packages, name)),
      [{ name: `@stratafs/linux-${cpu}-gnu`, cpu }],
    );
    managers = await packageManagers();
  }, 8 * MINUTE);

  afterAll(async () => {
    await (registry as Registry | undefined)?.close();
    await rm(packages, { recursive: true, force: true });
  });

  /** Installs with `manager`, as nobody, in a project that is made for it. */
  async function install(dir: string, manager: Manager): Promise<string> {
    const project = join(dir, 'project');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), '{ "private": true }\n');
    for (const [name, text] of Object.entries(manager.files ?? {})) {
      await writeFile(join(project, name), text);
    }
    await run('chown', ['-R', 'nobody:nogroup', dir]);
    await asNobody(dir, [...manager.add, 'stratafs'], {
      cwd: project,
      env: manager.env(registry.url),
      timeout: 3 * MINUTE,
    });
    return project;
  }

  /** Nothing of the npm that runs the tests must reach the one that is tested. */
  function asNobody(
    home: string,
    command: readonly string[],
    options: RunOptions,
  ): Promise<Finished> {
    const { PATH = '', NODE_EXTRA_CA_CERTS = '' } = process.env;
    const env = { PATH, NODE_EXTRA_CA_CERTS, HOME: home, ...options.env };
    const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const [program = '', ...args] = [...USER, 'env', '-i', ...words, ...command];
    return run(program, args, options);
  }

  function named(title: string): Manager {
    const manager = managers.find((each) => each.title === title);
    if (!manager) throw new Error(`no manager ${title}`);
    return manager;
  }

  const contents = async (name: string): Promise<string[]> =>
    (await run('tar', ['-tzf', join(packages, name)])).stdout.trim().split('\n');

  const sh = async (script: string, ...args: string[]): Promise<string> =>
    (await run('bash', ['-euo', 'pipefail', '-c', script, ...args], { cwd: packages })).stdout;

  it('hold what a user needs and nothing else', async () => {
    expect(tarballs).toEqual([
      `stratafs-${VERSION}.tgz`,
      `stratafs-linux-${process.arch}-gnu-${VERSION}.tgz`,
    ]);
    const [main = [], native = []] = await Promise.all(tarballs.map(contents));
    const strange = [...main, ...native].filter((file) =>
      /\.map$|results|\/test\/|(?<!\.d)\.ts$|\.cc$|\.gyp|\/demo/.test(file),
    );
    expect(strange).toEqual([]);
    expect(main.filter((file) => /bundle|\.node$|Release/.test(file))).toEqual([]);
    for (const file of ['bin/stratafs', 'dist/index.js', 'dist/index.d.ts', 'README.md']) {
      expect(main).toContain(`package/${file}`);
    }
    expect(native).toContain('package/build/Release/stratafs_native.node');
    expect(native).toContain('package/dist/build-id');
  });

  it('name no source map, and say where they come from', async () => {
    for (const name of tarballs) {
      const maps = await sh('tar -xzOf "$0" | grep -a -c sourceMappingURL= || true', name);
      expect([name, maps.trim()]).toEqual([name, '0']);
      const text = await sh('tar -xzOf "$0" package/package.json', name);
      const manifest = JSON.parse(text) as Record<string, unknown>;
      for (const key of ['repository', 'homepage', 'bugs', 'keywords', 'license', 'engines']) {
        expect(manifest).toHaveProperty(key);
      }
      expect(manifest).not.toHaveProperty('scripts');
    }
  });

  it('need glibc 2.34 or later, and no libstdc++', async () => {
    const needed = await sh(
      `tar -xzOf "$0" package/build/Release/stratafs_native.node > addon.node
       objdump -p addon.node | grep -oE '(GLIBC|GLIBCXX|CXXABI)_[0-9.]+|NEEDED.*'`,
      `stratafs-linux-${process.arch}-gnu-${VERSION}.tgz`,
    );
    expect(needed).not.toMatch(/GLIBCXX|CXXABI|libstdc/);
    const minors = [...needed.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    expect(Math.max(...minors)).toBeLessThanOrEqual(34);
  });

  it.each(['npm 11', 'npm 12', 'pnpm 10', 'pnpm 12', 'yarn 1', 'yarn 4 with node_modules'])(
    'are installed by %s, and mount as root and as an ordinary user',
    (title) =>
      withScratch(async (dir) => {
        const project = await install(dir, named(title));
        const command = join(project, 'node_modules/.bin/stratafs');
        expect((await run(command, ['--version'])).stdout).toContain(`stratafs ${VERSION}`);
        // It needs npm packages and files that are no modules.
        expect((await run(command, ['snapshotter', '--help'])).stdout).toContain('Usage');
        expect((await use(dir, [], command, `${dir}/root`)).stdout).toBe(USED);
        await mkdir(`${dir}/user`);
        await run('chown', ['nobody:nogroup', `${dir}/user`]);
        expect((await use(dir, USER, command, `${dir}/user/own`)).stdout).toBe(USED);
        await mkdir(`${dir}/library`);
        const program = ['--input-type=module', '-e', LIBRARY, `${dir}/library`];
        const inProject = ['env', '-C', project, process.execPath, ...program];
        expect((await alone(dir, [], inProject)).stdout).toBe('hello\n');
      }),
    10 * MINUTE,
  );

  it('work where npm installs for everybody, whatever PATH an engine gives', () =>
    withScratch(async (dir) => {
      const npm = named('npm 11');
      const [program = '', ...args] = npm.add;
      const options = { env: npm.env(registry.url), timeout: 3 * MINUTE };
      await run(program, [...args, '--global', '--prefix', dir, 'stratafs'], options);
      await run('ln', ['-s', '../../bin/stratafs', `${dir}/lib/node_modules/other`]);
      for (const command of ['bin/stratafs', 'lib/node_modules/other']) {
        const engine = ['env', '-i', `PATH=/usr/bin:/bin`];
        const where = join(dir, `used by ${command.replaceAll('/', '-')}`);
        expect((await use(dir, engine, join(dir, command), where)).stdout).toBe(USED);
      }
    }));

  it('say what is missing, and the command that installs it', () =>
    withScratch(async (dir) => {
      const npm = named('npm 11');
      const [program = '', ...args] = npm.add;
      const options = { cwd: dir, env: npm.env(registry.url), timeout: 3 * MINUTE };
      await writeFile(join(dir, 'package.json'), '{}');
      await run(program, [...args, '--omit=optional', 'stratafs'], options);
      const sentence = `the package ${NATIVE} is missing: run npm install ${NATIVE}@${VERSION}`;
      const command = await run('node_modules/.bin/stratafs', ['mounts'], {
        cwd: dir,
        mayFail: true,
      });
      expect(command).toMatchObject({ code: 1, stderr: `stratafs: ${sentence}\n`, stdout: '' });
      const script = `import { mount } from 'stratafs';
        mount({ lower: ['/usr'], mountpoint: '/mnt' }).catch((e) => console.log(e.message))`;
      const library = await run(process.execPath, ['--input-type=module', '-e', script], {
        cwd: dir,
      });
      expect(library.stdout).toBe(`${sentence}\n`);
      await run(program, [...args, `${NATIVE}@${VERSION}`], options);
      const after = await run('node_modules/.bin/stratafs', ['--version'], { cwd: dir });
      expect(after.stdout).toContain(`stratafs ${VERSION}`);
    }));
});
