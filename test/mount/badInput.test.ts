/** Bad input: one sentence that names the path and says what to do, exit code 1, nothing mounted. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, type Ran, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

interface Case {
  readonly title: string;
  readonly options: string;
  /** Defaults to the good mount point. */
  readonly at?: string;
  readonly says: RegExp;
}

/** Marks that are known, and a client's own name in its escaped form: no reason to refuse. */
const KNOWN_MARKS = ['origin', 'impure', 'uuid', 'protattr', 'nlink', 'overlay.later'];

const GOOD = 'lowerdir=low,upperdir=up,workdir=work';

const cases: readonly Case[] = [
  { title: 'no lowerdir', options: 'ro', says: /no layer to mount: give lowerdir/ },
  ...(readFileSync('/proc/filesystems', 'latin1').includes('selinuxfs')
    ? []
    : [
        {
          title: 'a label without SELinux',
          options: `${GOOD},context="system_u:object_r:x_t:s0:c1,c2"`,
          says: /option context="system_u:object_r:x_t:s0:c1,c2" needs SELinux/,
        },
      ]),
  {
    title: 'a mapping without its end',
    options: `${GOOD},uidmapping=:0:100000`,
    says: /option uidmapping takes triples DISK:SHOWN:COUNT, not ':0:100000'/,
  },
  {
    title: 'a missing layer',
    options: 'lowerdir=low:gone',
    says: /lower layer \S*\/gone does not exist/,
  },
  {
    title: 'a file as layer',
    options: 'lowerdir=file:low',
    says: /lower layer \S*\/file is not a directory/,
  },
  {
    title: 'a layer given twice',
    options: 'lowerdir=low:other:low',
    says: /lower layer \S*\/low is given twice/,
  },
  {
    title: 'a missing upperdir',
    options: 'lowerdir=low,upperdir=gone,workdir=work',
    says: /upperdir \S*\/gone does not exist/,
  },
  {
    title: 'a missing workdir',
    options: 'lowerdir=low,upperdir=up,workdir=gone',
    says: /workdir \S*\/gone does not exist/,
  },
  {
    title: 'an upperdir without workdir',
    options: 'lowerdir=low,upperdir=up',
    says: /upperdir \S*\/up has no workdir/,
  },
  {
    title: 'a workdir without upperdir',
    options: 'lowerdir=low,workdir=work',
    says: /workdir \S*\/work has no upperdir/,
  },
  {
    title: 'a workdir on another file system',
    options: 'lowerdir=low,upperdir=up,workdir=tmpfs/work',
    says: /workdir \S*\/tmpfs\/work is on another file system/,
  },
  {
    title: 'a workdir inside the upperdir',
    options: 'lowerdir=low,upperdir=up,workdir=up/inside',
    says: /workdir \S*\/up\/inside and upperdir \S*\/up overlap/,
  },
  {
    title: 'one directory as upperdir and workdir',
    options: 'lowerdir=low,upperdir=up,workdir=up',
    says: /overlap/,
  },
  {
    title: 'an upperdir inside a lower layer',
    options: 'lowerdir=low,upperdir=low/inside,workdir=work',
    says: /upperdir \S*\/low\/inside lies inside lower layer \S*\/low/,
  },
  {
    title: 'an upperdir inside a lower layer, through a symlink',
    options: 'lowerdir=low,upperdir=link/inside,workdir=work',
    says: /upperdir \S*\/link\/inside lies inside lower layer \S*\/low/,
  },
  {
    title: 'a lower layer inside the upperdir',
    options: 'lowerdir=up/inside,upperdir=up,workdir=work',
    says: /lower layer \S*\/up\/inside lies inside upperdir \S*\/up/,
  },
  {
    title: 'a lower layer inside another',
    options: 'lowerdir=other:low:low/inside',
    says: /lower layer \S*\/low\/inside lies inside lower layer \S*\/low:/,
  },
  {
    title: 'a lower layer around another',
    options: 'lowerdir=low/inside:low',
    says: /lower layer \S*\/low\/inside lies inside lower layer \S*\/low:/,
  },
  {
    title: 'a lower layer as upperdir',
    options: 'lowerdir=low:other,upperdir=other,workdir=work',
    says: /upperdir \S*\/other is also a lower layer/,
  },
  {
    title: 'a lower layer as workdir',
    options: 'lowerdir=low:other,upperdir=up,workdir=other',
    says: /workdir \S*\/other is also a lower layer/,
  },
  {
    title: 'a workdir inside a lower layer',
    options: 'lowerdir=low,upperdir=up,workdir=low/inside',
    says: /workdir \S*\/low\/inside lies inside lower layer \S*\/low:/,
  },
  {
    title: 'a lower layer inside the workdir',
    options: 'lowerdir=low/inside,upperdir=up,workdir=low',
    says: /lower layer \S*\/low\/inside lies inside workdir \S*\/low:/,
  },
  {
    title: 'an upperdir inside the workdir',
    options: 'lowerdir=low,upperdir=up/inside,workdir=up',
    says: /workdir \S*\/up and upperdir \S*\/up\/inside overlap/,
  },
  {
    title: 'a read-only upperdir inside a lower layer',
    options: 'lowerdir=low,upperdir=low/inside,ro',
    says: /upperdir \S*\/low\/inside lies inside lower layer \S*\/low:/,
  },
  {
    title: 'a data-only layer inside a lower layer',
    options: 'lowerdir=low::low/inside',
    says: /data-only layer \S*\/low\/inside lies inside lower layer \S*\/low:/,
  },
  {
    title: 'a data-only layer given twice',
    options: 'lowerdir=low::other::other',
    says: /data-only layer \S*\/other is given twice/,
  },
  {
    title: 'a missing data-only layer',
    options: 'lowerdir=low::gone',
    says: /data-only layer \S*\/gone does not exist/,
  },
  {
    title: 'a mount point inside the upperdir',
    options: GOOD,
    at: 'up/inside',
    says: /mount point \S*\/up\/inside lies inside upperdir \S*\/up:/,
  },
  {
    title: 'a mount point inside the workdir',
    options: 'lowerdir=low,upperdir=work,workdir=up',
    at: 'up/inside',
    says: /mount point \S*\/up\/inside lies inside workdir \S*\/up:/,
  },
  {
    title: 'a mount point inside an upperdir that is only read',
    options: 'lowerdir=low,upperdir=up,ro',
    at: 'up/inside',
    says: /mount point \S*\/up\/inside lies inside upperdir \S*\/up:/,
  },
  {
    title: 'a mark of an unknown feature on the upperdir',
    options: 'lowerdir=low,upperdir=marked,workdir=work',
    says: /layer \S*\/marked has the mark trusted\.overlay\.later of an unknown feature/,
  },
  {
    title: 'a mark of an unknown feature on a lower layer',
    options: 'lowerdir=low:marked',
    says: /layer \S*\/marked has the mark trusted\.overlay\.later of an unknown feature/,
  },
  {
    title: 'a read-only upper file system',
    options: 'lowerdir=low,upperdir=readonly/up,workdir=readonly/work',
    says: /upperdir \S*\/readonly\/up is on a read-only file system/,
  },
  {
    title: 'a workdir left by a volatile mount',
    options: 'lowerdir=low,upperdir=up,workdir=stale',
    says: /workdir \S*\/stale was last used by a volatile mount/,
  },
  {
    title: 'a workdir with an unknown feature',
    options: 'lowerdir=low,upperdir=up,workdir=unknown',
    says: /workdir \S*\/unknown is marked with the unknown feature 'later'/,
  },
  {
    title: 'a missing mount point',
    options: GOOD,
    at: 'gone',
    says: /mount point \S*\/gone does not exist/,
  },
  {
    title: 'a file as mount point',
    options: GOOD,
    at: 'file',
    says: /mount point \S*\/file is not a directory/,
  },
  { title: 'an unknown option', options: `${GOOD},bogus`, says: /unknown option 'bogus'/ },
  {
    title: 'an export, which a FUSE mount cannot give',
    options: `${GOOD},nfs_export=on`,
    says: /option nfs_export=on needs file handles/,
  },
  {
    title: 'an unknown value of xattr_permissions',
    options: `${GOOD},xattr_permissions=3`,
    says: /option xattr_permissions takes 1, 2, not '3'/,
  },
];

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('refuses', () => {
  let base: string;

  beforeAll(async () => {
    base = scratch('bad-input');
    const directories = [
      'low/inside',
      'other',
      'marked',
      'up/inside',
      'work',
      'mnt',
      'tmpfs',
      'readonly',
    ];
    for (const name of directories) mkdirSync(join(base, name), { recursive: true });
    mkdirSync(join(base, 'stale/work/incompat/volatile'), { recursive: true });
    mkdirSync(join(base, 'unknown/work/incompat/later'), { recursive: true });
    writeFileSync(join(base, 'file'), '');
    await mustRun('setfattr', ['-n', 'trusted.overlay.later', '-v', 'y', join(base, 'marked')]);
    for (const mark of KNOWN_MARKS) {
      await mustRun('setfattr', ['-n', `trusted.overlay.${mark}`, '-v', 'y', join(base, 'up')]);
    }
    await mustRun('ln', ['-s', 'low', join(base, 'link')]);
    for (const name of ['tmpfs', 'readonly']) {
      await mustRun('mount', ['-t', 'tmpfs', 'test', join(base, name)]);
      for (const sub of ['up', 'work']) mkdirSync(join(base, name, sub));
    }
    await mustRun('mount', ['-o', 'remount,ro', join(base, 'readonly')]);
  });

  afterAll(async () => {
    for (const name of ['tmpfs', 'readonly']) await run('umount', [join(base, name)]);
    rmSync(base, { recursive: true, force: true });
  });

  afterEach(() => {
    expect(mountsBelow(join(base, 'mnt'))).toEqual([]);
  });

  const ask = (options: string, at = 'mnt'): Promise<Ran> =>
    run(stratafsBinary(), ['-o', options, at], { cwd: base });

  it.each(cases)('$title', async ({ options, at, says }) => {
    const { code, stdout, stderr } = await ask(options, at);
    expect(stderr).toMatch(says);
    expect(stderr).toMatch(/^stratafs: [^\n]+\n$/);
    expect([code, stdout]).toEqual([1, '']);
  });

  it('a layer that cannot be read', async () => {
    // A mount whose server is gone: not even root can look into it.
    const dead = join(base, 'dead');
    mkdirSync(dead);
    const server = `exec 3<>/dev/fuse; mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 x ${dead}`;
    await mustRun('bash', ['-c', server]);
    try {
      const { code, stderr } = await ask('lowerdir=dead');
      expect([code, stderr]).toEqual([
        1,
        expect.stringMatching(/lower layer \S*\/dead cannot be read/),
      ]);
    } finally {
      await mustRun('umount', ['-l', dead]);
    }
  });

  it('what the same directories, put right, then mount', async () => {
    expect(await ask(GOOD)).toEqual({ code: 0, stdout: '', stderr: '' });
    await mustRun(stratafsBinary(), ['unmount', 'mnt'], { cwd: base });
  });
});
