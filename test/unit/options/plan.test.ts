import { describe, expect, it } from 'vitest';
import { MS } from '../../../src/options/mountFlags.js';
import { type MountPlan, planMount } from '../../../src/options/plan.js';

function plan(...lists: string[]): MountPlan {
  return planMount(lists, { cwd: '/home/me', mountpoint: 'mnt', privileged: true });
}

describe('the option list', () => {
  it('takes layers topmost first, upperdir and workdir', () => {
    expect(plan('lowerdir=/a:/b:/c,upperdir=/u,workdir=/w').spec).toEqual({
      lowers: ['/a', '/b', '/c'],
      upper: '/u',
      work: '/w',
      readOnly: false,
      durability: 'sync',
      data: 'cached',
      writeback: true,
      redirectDir: 'on',
      metacopy: true,
      index: 'auto',
      debug: false,
    });
  });

  it('resolves relative paths against the directory of the caller', () => {
    const { spec, mountpoint } = plan('lowerdir=a:../b,upperdir=u,workdir=./w');
    expect(spec.lowers).toEqual(['/home/me/a', '/home/me/../b']);
    expect([spec.upper, spec.work, mountpoint]).toEqual([
      '/home/me/u',
      '/home/me/./w',
      '/home/me/mnt',
    ]);
  });

  it('takes data-only layers after two colons, and layers one by one', () => {
    const spec = { lowers: ['/a', '/b:c'], dataLayers: ['/d', '/e:f'] };
    expect(plan('lowerdir=/a:/b\\:c::/d::/e\\:f').spec).toMatchObject(spec);
    expect(plan('lowerdir+=/a,lowerdir+=/b:c', 'datadir+=/d,datadir+=/e:f').spec).toMatchObject(
      spec,
    );
    expect(plan('lowerdir=/a').spec).not.toHaveProperty('dataLayers');
    expect(plan('datadir+=/d,lowerdir=/a').spec).not.toHaveProperty('dataLayers');
  });

  it('skips empty options, as podman 4.3.1 writes them', () => {
    expect(plan('lowerdir=/l/A:/l/B,upperdir=/u,workdir=/w,,volatile').spec.durability).toBe(
      'volatile',
    );
    expect(plan('lowerdir=/l/A,upperdir=/u,workdir=/w,').spec.lowers).toEqual(['/l/A']);
  });

  it('joins repeated lists, whatever the order of the keys', () => {
    const { spec } = plan('workdir=/w', 'upperdir=/u', 'lowerdir=/a:/b');
    expect([spec.lowers, spec.upper, spec.work]).toEqual([['/a', '/b'], '/u', '/w']);
  });

  it('takes a backslash before comma, colon and backslash as an escape, and no other', () => {
    const { spec } = plan('lowerdir=/a\\:b:/c\\,d:/e\\\\f:/g\\h,upperdir=/u\\,\\:,workdir=/w');
    expect(spec.lowers).toEqual(['/a:b', '/c,d', '/e\\f', '/g\\h']);
    expect(spec.upper).toBe('/u,:');
  });

  it('keeps bytes that are not UTF-8', () => {
    expect(plan('lowerdir=/a\xff\n').spec.lowers).toEqual(['/a\xff\n']);
  });

  it('takes the last of two values', () => {
    expect(plan('lowerdir=/a,lowerdir=/b').spec.lowers).toEqual(['/b']);
  });

  it('is read-only without an upperdir, and with ro', () => {
    expect(plan('lowerdir=/a,rw').spec.readOnly).toBe(true);
    expect(plan('lowerdir=/a,rw').flags & MS.RDONLY).toBe(MS.RDONLY);
    const view = plan('workdir=/w,upperdir=/u,lowerdir=/a:/b,ro,dev,suid');
    expect([view.spec.readOnly, view.spec.upper, view.flags]).toEqual([true, '/u', MS.RDONLY]);
    expect(plan('lowerdir=/a,upperdir=/u,ro').spec.readOnly).toBe(true);
  });

  it('turns VFS words into flags, the last one of a pair counting', () => {
    expect(plan('lowerdir=/a,nodev,nosuid,noexec,noatime').flags).toBe(
      MS.RDONLY | MS.NODEV | MS.NOSUID | MS.NOEXEC | MS.NOATIME,
    );
    expect(plan('lowerdir=/a,nodev,dev,noatime,relatime').flags).toBe(MS.RDONLY | MS.RELATIME);
  });

  it('forbids devices and set-user-ID bits without privilege unless asked', () => {
    const context = { cwd: '/', mountpoint: '/m', privileged: false };
    expect(planMount(['lowerdir=/a'], context).flags).toBe(MS.RDONLY | MS.NODEV | MS.NOSUID);
    expect(planMount(['lowerdir=/a,allow_other'], context).allowOther).toBe(true);
    expect(planMount(['lowerdir=/a'], context).allowOther).toBe(false);
  });

  it('takes propagation, as podman sends it with -v dir:/x:O', () => {
    expect(plan('lowerdir=/a,upperdir=/u,workdir=/w,private').propagation).toBe(MS.PRIVATE);
    expect(plan('lowerdir=/a,rslave').propagation).toBe(MS.SLAVE | MS.REC);
  });

  it('takes fsync=0, volatile and writeback=0', () => {
    expect(plan('lowerdir=/a,fsync=0').spec.durability).toBe('fsync=0');
    expect(plan('lowerdir=/a,fsync=0,volatile').spec.durability).toBe('volatile');
    expect(plan('lowerdir=/a,writeback=0').spec.writeback).toBe(false);
  });

  it('takes redirect_dir and metacopy', () => {
    expect(plan('lowerdir=/a,redirect_dir=off,metacopy=off').spec).toMatchObject({
      redirectDir: 'follow',
      metacopy: false,
    });
    expect(plan('lowerdir=/a,redirect_dir=nofollow').spec.redirectDir).toBe('nofollow');
    const metacopy = (list: string): boolean => plan(`lowerdir=/a${list}`).spec.metacopy;
    expect(metacopy('')).toBe(true);
    expect(metacopy(',redirect_dir=on')).toBe(true);
    for (const mode of ['off', 'follow', 'nofollow']) {
      expect(metacopy(`,redirect_dir=${mode}`), mode).toBe(false);
    }
    expect(metacopy(',metacopy=on,redirect_dir=off')).toBe(true);
    expect(plan('lowerdir=/a,index=on').spec.index).toBe('on');
    expect(plan('lowerdir=/a,index=off').spec.index).toBe('off');
  });

  it('takes mappings as podman writes them, and IDs to squash to', () => {
    const keepId = ':0:1:1001:1001:0:1:1002:1002:64535';
    const { spec } = plan(`lowerdir=/a,uidmapping=${keepId},gidmapping=0:5:1,squash_to_gid=7`);
    expect(spec.ids).toEqual({
      uids: [
        { disk: 0, client: 1, count: 1001 },
        { disk: 1001, client: 0, count: 1 },
        { disk: 1002, client: 1002, count: 64535 },
      ],
      gids: [{ disk: 0, client: 5, count: 1 }],
      squashUid: undefined,
      squashGid: 7,
    });
    expect(plan('lowerdir=/a,squash_to_root,squash_to_uid=3').spec.ids).toMatchObject({
      squashUid: 3,
      squashGid: 0,
    });
    expect(plan('lowerdir=/a,noacl').spec.acl).toBe(false);
  });

  it('keeps SELinux labels for mount(2), the last of each kind', () => {
    const { labels } = plan('lowerdir=/a,context=x,fscontext=y,context="a:b,c"');
    expect(labels).toEqual(['fscontext=y', 'context="a:b,c"']);
  });

  it("ignores mount(8)'s own words and what is the case anyway", () => {
    const words = 'defaults,auto,nofail,user,_netdev,x-systemd.automount,X-a=b,comment=c,subtype=s';
    const off =
      'default_permissions,redirect_dir=off,metacopy=off,index=off,xino=off,verity=off,nfs_export=off,uuid=auto';
    expect(plan(`lowerdir=/a,${words},${off}`).flags).toBe(MS.RDONLY);
  });

  it('freezes the result', () => {
    const result = plan('lowerdir=/a');
    expect([result, result.spec, result.spec.lowers].every(Object.isFrozen)).toBe(true);
  });
});

describe('one sentence for', () => {
  const cases: readonly (readonly [title: string, list: string, message: string])[] = [
    ['no layer', 'upperdir=/u,workdir=/w', 'no layer to mount: give lowerdir'],
    ['an empty lowerdir', 'lowerdir=', 'option lowerdir needs a path'],
    ['an upper without workdir', 'lowerdir=/a,upperdir=/u', 'upperdir /u has no workdir'],
    ['a workdir without upper', 'lowerdir=/a,workdir=/w', 'workdir /w has no upperdir'],
    ['an unknown option', 'lowerdir=/a,bogus=1', "unknown option 'bogus'"],
    ['a UUID', 'lowerdir=/a,uuid=on', 'option uuid=on needs a file system UUID'],
    [
      'digests to check',
      'lowerdir=/a,verity=require',
      'option verity=require needs fs-verity digests',
    ],
    [
      'an unknown way to check',
      'lowerdir=/a,verity=1',
      "option verity takes off, on, require, not '1'",
    ],
    ['userxattr with its opposite', 'lowerdir=/a,userxattr,metacopy=on', 'metacopy cannot go with'],
    ['half a triple', 'lowerdir=/a,uidmapping=:0:1', 'option uidmapping takes triples'],
    ['no mapping', 'lowerdir=/a,gidmapping=:', 'option gidmapping takes triples'],
    ['an ID of letters', 'lowerdir=/a,uidmapping=0:x:1', "not 'x'"],
    ['an ID too large', 'lowerdir=/a,squash_to_uid=4294967295', 'from 0 to 4294967294'],
    ['an empty range', 'lowerdir=/a,uidmapping=0:1:0', 'empty or too long range 0:1:0'],
    ['a range too long', 'lowerdir=/a,uidmapping=0:2:4294967294', 'too long range'],
    ['ranges that overlap', 'lowerdir=/a,uidmapping=0:10:5:9:14:1', 'maps an ID twice'],
    ['an empty label', 'lowerdir=/a,context=""', 'option context needs a SELinux label'],
    [
      'lasting file handles',
      'lowerdir=/a,nfs_export=on',
      'option nfs_export=on needs file handles',
    ],
    ['a wrong choice', 'lowerdir=/a,metacopy=1', "option metacopy takes on, off, not '1'"],
    ['a colon at the start', 'lowerdir=::/a', 'lowerdir has a colon without a layer beside it'],
    ['a colon at the end', 'lowerdir=/a:', 'lowerdir has a colon without a layer beside it'],
    ['two at the end', 'lowerdir=/a::/b::', 'lowerdir has a colon without a layer beside it'],
    ['three colons', 'lowerdir=/a:::/b', 'lowerdir has a colon without a layer beside it'],
    ['a merged layer last', 'lowerdir=/a::/b:/c', 'layer /c comes after a data-only layer'],
    [
      'the same with +',
      'lowerdir+=/a,datadir+=/b,lowerdir+=/c',
      'layer /c comes after a data-only',
    ],
    ['both ways', 'lowerdir=/a,datadir+=/b', 'option datadir+ cannot follow lowerdir'],
    ['data-only layers alone', 'datadir+=/b', 'no layer to mount'],
    ['metacopy=off with them', 'lowerdir=/a::/b,metacopy=off', 'data-only layer /b needs metacopy'],
    [
      'nofollow with them',
      'lowerdir=/a::/b,redirect_dir=nofollow',
      'data-only layer /b is reached',
    ],
    [
      'metadata-only copies without redirects',
      'lowerdir=/a,redirect_dir=nofollow,metacopy=on',
      'metacopy=on and redirect_dir=nofollow exclude each other',
    ],
    ['a missing options file', 'optionsfile=/no/such', 'options file /no/such cannot be read'],
    ['a directory as options file', 'optionsfile=/', 'options file / is not a regular file'],
    ['a wrong switch', 'lowerdir=/a,fsync=yes', "option fsync takes 0 or 1, not 'yes'"],
    ['a value where none belongs', 'lowerdir=/a,ro=1', 'option ro takes no value'],
  ];
  it.each(cases)('%s', (_, list, message) => {
    expect(() => plan(list)).toThrow(message);
  });
});

describe('options of others', () => {
  const plan = (options: string) =>
    planMount([options], { cwd: '/', mountpoint: '/m', privileged: true });

  it('of fuse-overlayfs are taken, and noted', () => {
    const { notes } = plan('lowerdir=/a,threaded=1,timeout=5,noxattrs=1,kernel_cache,umask=022');
    expect(notes).toEqual(
      ['threaded=1', 'timeout=5', 'noxattrs=1', 'kernel_cache', 'umask=022'].map(
        (given) => `option ${given} of fuse-overlayfs has no effect here`,
      ),
    );
    expect(plan('lowerdir=/a').notes).toEqual([]);
  });

  it('that are mistyped are told apart from ones that nobody knows', () => {
    expect(() => plan('lowedir=/a')).toThrow("unknown option 'lowedir': did you mean lowerdir?");
    expect(() => plan('lowerdir=/a,metacpy=on')).toThrow('did you mean metacopy?');
    expect(() => plan('lowerdir=/a,nonsense')).toThrow('see stratafs help mount');
  });
});
