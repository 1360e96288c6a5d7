/** The host as a unit of systemd. None runs here: its tools check the units and pass the socket. */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has, stratafsBinary } from '../support/needs.js';
import { run, scratch } from '../support/run.js';

const systemd = has({ root: true, programs: ['systemd-analyze', 'systemd-socket-activate'] });

/** A directory of sockets of its own, and a process that listens there as systemd would. */
const ACTIVATE = `
mount -t tmpfs -o mode=0700 none /run/stratafs
systemd-socket-activate -l /run/stratafs/unit.sock "$S" host serve 2> log & unit=$!
until_ '[ -S /run/stratafs/unit.sock ]'
`;

describe.skipIf(!systemd)('stratafs install service', () => {
  let top: string;

  beforeAll(() => {
    top = scratch('units');
  });

  afterAll(() => {
    rmSync(top, { recursive: true, force: true });
  });

  const stratafs = (...args: string[]) => run(stratafsBinary(), args, { env: userEnv() });
  const userEnv = () => ({
    ...process.env,
    HOME: '/home/me',
    XDG_CONFIG_HOME: '',
    XDG_RUNTIME_DIR: top,
  });

  it.each([
    ['system', [], '/etc/systemd/system'],
    ['user', ['--user'], '/home/me/.config/systemd/user'],
  ])('writes units of the %s that systemd accepts, and takes them away', async (kind, args, at) => {
    const destdir = join(top, kind);
    const units = ['socket', 'service'].map((type) => join(destdir, at, `stratafs.${type}`));
    const shown = await stratafs('install', 'service', ...args, '--dry-run');
    expect(shown.stdout).toContain(`# ${at}/stratafs.socket (0644)\n`);
    const wrote = await stratafs('install', 'service', ...args, '--destdir', destdir);
    expect([wrote.code, wrote.stderr]).toEqual([0, '']);
    expect(readFileSync(units[1], 'utf8')).toContain(`ExecStart=${stratafsBinary()} host serve`);
    expect(statSync(units[0]).mode & 0o777).toBe(0o644);
    const analyze = [`--${kind}`, '--man=no', 'verify', ...units];
    const verified = await run('systemd-analyze', analyze, { env: userEnv() });
    expect([verified.code, verified.stderr]).toEqual([0, '']);
    writeFileSync(units[0], '# mine\n', { flag: 'a' });
    const kept = await stratafs('uninstall', 'service', ...args, '--destdir', destdir);
    expect([kept.code, kept.stderr]).toEqual([
      1,
      `stratafs: ${units[0]} stays, as it was changed: remove it by hand\n`,
    ]);
    expect(() => statSync(units[1])).toThrow('ENOENT');
  });

  it('is for root, unless it is for a user', async () => {
    const command = ['--reuid=64000', '--clear-groups', stratafsBinary(), 'install', 'service'];
    const refused = await run('setpriv', command);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      'stratafs: the units of the system are written by root: run it as root, or with --user\n',
    ]);
  });
});

describe.skipIf(!systemd || !has({ fuse: true, stratafs: true, mountNamespaces: true }))(
  'a host of systemd',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('systemd');
      makeDirectories(base);
      mkdirSync('/run/stratafs', { recursive: true, mode: 0o700 });
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (body: string): Promise<string> => hostScript(base, ACTIVATE + body);

    it('gets the mounts, with its unit’s settings, logs for the journal, and ends when told', async () => {
      const output = await script(`
      choom -n 300 -p $unit >/dev/null
      "$S" -o lowerdir=low m1; "$S" -o lowerdir=low,upperdir=up,workdir=work m2; echo new > m2/new; cat m1/hello m2/new
      [ "$(host)" = $unit ] && echo unit; "$S" host status | grep -o 'run by systemd'; cat /proc/$unit/oom_score_adj
      "$S" uninstall service 2>&1 | sed 's/:.*//'; "$S" uninstall service 2>&1 | grep -o 'serves 2 mounts'
      grep -c '^host .* started$' log; kill -TERM $unit; gone $unit; live; cat up/new; ls /run/stratafs`);
      expect(output.split('\n')).toEqual([
        'hello',
        'new',
        'unit',
        'run by systemd',
        '300',
        'stratafs',
        'serves 2 mounts',
        '1',
        '0',
        'new',
        'unit.sock',
        '',
      ]);
    });

    it('serves nobody with other rights, who gets a host of its own', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1; setpriv --groups 7 "$S" -o lowerdir=low m2; cat m1/hello m2/hello
      [ $(of m1) = $unit ] && [ $(of m2) != $unit ] && echo apart
      "$S" host restart; "$S" -o lowerdir=low m3; [ $(of m3) != $unit ] && echo retired
      for m in m1 m2 m3; do "$S" unmount $m; done; gone $unit && echo ended`);
      expect(output).toBe('hello\nhello\napart\nretired\nended\n');
    });
  },
);
