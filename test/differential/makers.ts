/** Random operations on the pool of names; each is one command of a test client. */
import { acl } from './acl.js';
import { LINK_TARGETS, MODES, OWNERS } from './layers.js';
import { DATA_MAKERS, type Maker, one, someTimes } from './makersData.js';
import { commandOf, O, OTHER, type Operation, RENAME } from './operations.js';
import type { Random } from './random.js';
import { State } from './state.js';

const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';
const XATTRS = [
  'user.one',
  'user.two',
  'trusted.two',
  'trusted.three',
  'user.empty',
  'security.x',
  'security.capability',
  // A client's own names of the union's form: kept one level deeper, so that unions nest.
  'trusted.overlay.opaque',
  'trusted.overlay.own',
];
const CAPABILITY = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0';

/** Directory streams, apart from other tests' use. */
const STREAMS = [0, 1];

/** Not so long that two of them fill the one block that ext4 has for the xattrs of a file. */
function someValue(random: Random, name: string): string {
  if (name === 'security.capability') return random.chance(90) ? CAPABILITY : 'nonsense';
  return random.pick([
    `v${random.below(99)}`,
    `v${random.below(99)}`,
    '',
    'y',
    '\0\xff',
    'x'.repeat(700),
  ]);
}

function setting(state: State, random: Random): Operation {
  const name = random.pick(XATTRS);
  return ['setxattr', state.any(), name, someValue(random, name), random.pick([0, 0, 1, 2])];
}

function someAcl(random: Random): string {
  const bits = (): number => random.below(8);
  const owner = [1, bits(), -1] as const;
  const group = [4, bits(), -1] as const;
  const other = [32, bits(), -1] as const;
  if (random.chance(30)) return acl(owner, group, other);
  const mask = [16, bits(), -1] as const;
  const user = [2, bits(), random.pick(OWNERS)] as const;
  const named = [8, bits(), random.pick(OWNERS)] as const;
  return random.chance(50)
    ? acl(owner, user, group, mask, other)
    : acl(owner, user, group, named, mask, other);
}

/** Sets, reads or removes an ACL; a default one of a directory, most often. */
function acls(state: State, random: Random): Operation[] {
  const name = random.chance(50) ? ACCESS : DEFAULT;
  const path = name === DEFAULT && random.chance(80) ? state.dir() : state.any();
  if (random.chance(15)) return [['removexattr', path, name]];
  return [
    ['setxattr', path, name, random.chance(95) ? someAcl(random) : 'nonsense', 0],
    ['getxattr', path, ACCESS],
    ['lstat', path],
  ];
}

/**
 * Never -1 for both: the kernel then clears setuid bits, and asks for the rights to, but sends a FUSE
 * server nothing (fuse_setattr with HANDLE_KILLPRIV_V2).
 */
function chown(state: State, random: Random): Operation {
  const owner = random.pick([-1, ...OWNERS]);
  const group = random.pick(owner === -1 ? OWNERS : [-1, ...OWNERS]);
  return ['chown', state.any(), owner, group];
}

function renaming(flags: number): Maker {
  return one((s, r) => {
    const from = s.any();
    return ['rename', from, r.chance(60) ? s.fresh(r.chance(40)) : s.any(), flags];
  });
}

/** Two directories change places, and one of them back again. */
function swapping(state: State, random: Random): Operation[] {
  const [a, b] = [state.dir(), state.dir()];
  const swap: Operation = ['rename', a, b, RENAME.EXCHANGE];
  return random.chance(30) ? [swap, swap] : [swap, ['readdir', a], ['readdir', b]];
}

/** A stream is opened, the directory changes, the stream is rewound: it shows what is there now. */
function streaming(state: State, random: Random): Operation[] {
  const stream = random.pick(STREAMS);
  const dir = state.dir();
  const inside = `${dir}/${random.pick(['f', 'g', 'a'])}`;
  return [
    ['opendir', stream, dir],
    random.pick<Operation>([
      ['unlink', inside],
      ['mkdir', inside, 0o755],
      ['open', 0, inside, O.CREAT | O.RDWR | O.NONBLOCK, 0o644],
    ]),
    ['drelist', stream],
    ['closedir', stream],
  ];
}

function special(state: State, random: Random): Operation {
  const path = state.fresh(false);
  const mode = random.pick(MODES);
  return random.pick<Operation>([
    ['mknod', path, 0o010000 | mode, 0, 0],
    ['mknod', path, 0o020000 | mode, 1, random.pick([3, 5])],
    // No disk answers to it: whoever opens it writes to nothing.
    ['mknod', path, 0o060000 | mode, 240, random.below(9)],
    ['mknod', path, 0o140000 | mode, 0, 0],
    ['mknod', path, 0o100000 | mode, 0, 0],
  ]);
}

/** Who asks: root, or users with and without further groups. */
function identity(random: Random): Operation {
  if (random.chance(60)) return ['ident', 0, 0];
  return random.pick<Operation>([
    ['ident', 1000, 1000],
    ['ident', 65534, 65534],
    ['ident', 1000, 1, 0, 65534],
    ['ident', 1, 1000, 1000],
    ['ident', 0, 1000],
  ]);
}

const NAME_MAKERS: readonly (readonly [number, Maker])[] = [
  [7, one((s, r) => ['mkdir', s.fresh(true), r.pick([0o755, 0o700, 0o777, 0o2775])])],
  [6, one((s) => ['rmdir', s.dir()])],
  [7, one((s) => ['unlink', s.file()])],
  [9, renaming(0)],
  [3, renaming(RENAME.NOREPLACE)],
  [4, renaming(RENAME.EXCHANGE)],
  [1, renaming(RENAME.NOREPLACE | RENAME.EXCHANGE)],
  [1, renaming(RENAME.WHITEOUT | RENAME.EXCHANGE)],
  [2, swapping],
  [5, one((s) => ['link', s.file(), s.fresh(false)])],
  [3, one((s, r) => ['symlink', r.pick(LINK_TARGETS), s.fresh(false)])],
  [4, one(special)],
  [6, one((s, r) => ['chmod', s.any(), r.pick(MODES)])],
  [4, one(chown)],
  [4, one((s, r) => ['utimens', s.any(), ...someTimes(r)])],
  [6, one(setting)],
  [4, one((s, r) => ['removexattr', s.any(), r.pick(XATTRS)])],
  [3, one((s, r) => ['getxattr', s.any(), r.pick(XATTRS)])],
  [4, acls],
  [2, one((s) => ['listxattr', s.any()])],
  [4, one((s) => ['lstat', s.any()])],
  [2, one((s) => ['stat', s.any()])],
  [4, one((s) => ['readdir', s.dir()])],
  [2, one((s, r) => ['dseeks', s.dir(), r.below(12)])],
  [2, streaming],
  [2, one((s) => ['readlink', s.file()])],
  [2, one((s, r) => ['access', s.any(), r.below(8)])],
  [1, one(() => ['statfs', '.'])],
  [1, one(() => ['forget'])],
  [3, one((_, r) => identity(r))],
  [1, one((_, r) => ['umask', r.pick([0, 0o022, 0o077])])],
];

/** What the second client does: the same, as whoever it is, with its own descriptors. */
const byOther: Maker = (state, random) =>
  random
    .weighted(OWN_MAKERS)(state, random)
    .map((operation): Operation => [OTHER, ...operation]);

const OWN_MAKERS: readonly (readonly [number, Maker])[] = [...NAME_MAKERS, ...DATA_MAKERS];
const MAKERS: readonly (readonly [number, Maker])[] = [...OWN_MAKERS, [14, byOther]];

/** At least `count` operations on what the layers show (`seen`: path → is a directory). */
export function someOperations(
  random: Random,
  seen: ReadonlyMap<string, boolean>,
  count: number,
): Operation[] {
  const state = new State(random, seen);
  const list: Operation[] = [];
  while (list.length < count) list.push(...random.weighted(MAKERS)(state, random));
  return list;
}

/** The same for one client alone. */
export function someOwnOperations(
  random: Random,
  seen: ReadonlyMap<string, boolean>,
  count: number,
): Operation[] {
  return someOperations(random, seen, count).map(commandOf);
}
