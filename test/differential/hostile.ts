/**
 * Layers as no tool makes them: redirects that lead out, in circles or nowhere, metadata-only copies
 * of what has no data, marks with values that mean nothing. Each with what a program would ask.
 */
import {
  device,
  dir,
  type Entry,
  fifo,
  file,
  hardlink,
  symlink,
  whiteout,
} from '../support/tree.js';
import type { Layers } from './layers.js';
import { O, type Operation } from './operations.js';

export interface Hostile {
  readonly layers: Layers;
  readonly operations: readonly Operation[];
}

const REDIRECT = 'trusted.overlay.redirect';
const METACOPY = 'trusted.overlay.metacopy';
const ORIGIN = 'trusted.overlay.origin';
const OPAQUE = 'trusted.overlay.opaque';

function layersOf(upper: readonly Entry[], ...lowers: readonly (readonly Entry[])[]): Layers {
  return { upper, lowers, seen: new Map(), countLinks: true };
}

/** What lies at the bottom: links that lead out, and something of every kind. */
const BOTTOM: readonly Entry[] = [
  dir('real', { mode: 0o755 }),
  file('real/inside', 'seen only through a redirect that is one'),
  dir('real/sub'),
  file('real/sub/f', 'deeper'),
  symlink('out', '../..'),
  symlink('etc', '/etc'),
  symlink('to-real', 'real'),
  file('suid', 'the data of a copy', { mode: 0o6755, uid: 1000 }),
  fifo('pipe'),
  device('null', 1, 3),
  symlink('link', 'suid'),
];

/** Everything a program would do to directory `path` that may not lead anywhere. */
function useDirectory(path: string): Operation[] {
  return [
    ['lstat', path],
    ['readdir', path],
    ['lstat', `${path}/below`],
    ['lstat', `${path}/inside`],
    ['lstat', `${path}/passwd`],
    ['open', 0, `${path}/new`, O.CREAT | O.RDWR | O.NONBLOCK, 0o644],
    ['mkdir', `${path}/made`, 0o755],
    ['rename', path, `${path}-moved`, 0],
    ['readdir', '.'],
  ];
}

function useFile(path: string): Operation[] {
  return [
    ['lstat', path],
    ['open', 0, path, O.RDONLY | O.NONBLOCK, 0],
    ['read', 0, 0, 100],
    ['listxattr', path],
    ['chmod', path, 0o640],
    ['open', 1, path, O.RDWR | O.NONBLOCK, 0],
    ['write', 1, 0, 'changed'],
    ['read', 1, 0, 100],
    ['lstat', path],
    ['truncate', path, 3],
    ['unlink', path],
    ['close', 0],
    ['close', 1],
  ];
}

/** Redirects that are none: refused for what they say. */
const REFUSED: readonly string[] = [
  '..',
  '.',
  '../real',
  '/..',
  '/.',
  '/../real',
  '/../../etc',
  '/real/..',
  '/real/../real',
  '/real/.',
  '',
  '/',
  '//',
  '/real/',
  '//real',
  '/real//sub',
  'real/',
  'real/sub',
  '/\0real',
];

/** Redirects that lead to nothing that is a directory. */
const NOWHERE: readonly string[] = [
  '/out',
  '/out/etc',
  '/etc',
  'etc',
  'out',
  'to-real',
  '/to-real/sub',
  '/suid',
  '/suid/x',
  'pipe',
  '/nowhere/at/all',
  'nowhere',
  'n'.repeat(255),
  'n'.repeat(256),
  `/${'n'.repeat(256)}`,
  `/${'n/'.repeat(1500)}n`,
];

const to = (path: string, redirect: string): Entry =>
  dir(path, { xattrs: { [REDIRECT]: redirect } });

const numbered = <T>(values: readonly T[], prefix: string): (readonly [string, T])[] =>
  values.map((value, i) => [`${prefix}${i}`, value] as const);

/** Directories d0, d1, … with these redirects, over others of those names. */
function redirected(inUpper: boolean, values: readonly string[]): [Layers, string[]] {
  const all = numbered(values, 'd');
  const names = all.map(([name]) => name);
  const marked = all.map(([name, value]) => to(name, value));
  const bottom = [...BOTTOM, ...names.flatMap((name) => [dir(name), file(`${name}/below`, 'x')])];
  return [inUpper ? layersOf(marked, bottom) : layersOf([], marked, bottom), names];
}

function refused(inUpper: boolean): Hostile {
  const [layers, names] = redirected(inUpper, REFUSED);
  return { layers, operations: names.flatMap(useDirectory) };
}

/** Without a rename: what the other driver moves, this one has not. */
const useLost = (path: string): Operation[] =>
  useDirectory(path).filter(([name]) => name !== 'rename');

function nowhere(inUpper: boolean): Hostile {
  const [layers, lost] = redirected(inUpper, NOWHERE);
  return { layers: { ...layers, lost }, operations: lost.flatMap(useLost) };
}

const DATA = 'the data of a copy';

/**
 * Marks of metadata-only copies; DATA stands for the path of a data file of its own. Marks of an
 * unknown version are in test/mount/dataLayers.test.ts: kernel overlayfs takes what it does not know.
 */
const COPIES: readonly Readonly<Record<string, string>>[] = [
  { [METACOPY]: '', [REDIRECT]: '/nowhere' },
  { [METACOPY]: '' },
  { [METACOPY]: '', [REDIRECT]: '/real' },
  { [METACOPY]: '', [REDIRECT]: '/pipe' },
  { [METACOPY]: '', [REDIRECT]: '/null' },
  { [METACOPY]: '', [REDIRECT]: '/link' },
  { [METACOPY]: '', [REDIRECT]: '/etc/passwd' },
  { [METACOPY]: '', [REDIRECT]: '../suid' },
  { [METACOPY]: '', [REDIRECT]: '..' },
  { [METACOPY]: '', [REDIRECT]: '/suid' },
  { [METACOPY]: '\0', [REDIRECT]: DATA },
  { [METACOPY]: '\0\x03\0', [REDIRECT]: DATA },
  { [METACOPY]: '\0\x04\0\0', [REDIRECT]: DATA },
  { [METACOPY]: `\0\x24\0\x01${'d'.repeat(32)}`, [REDIRECT]: DATA },
];

function copies(inUpper: boolean): Hostile {
  const all = numbered(COPIES, 'copy');
  const marked = all.map(([name, marks]) => {
    const redirect = marks[REDIRECT];
    const own = redirect === DATA ? { ...marks, [REDIRECT]: `/data-${name}` } : marks;
    return file(name, { size: 1, seed: 1, hole: DATA.length - 1 }, { xattrs: own });
  });
  const data = all.map(([name]) => file(`data-${name}`, DATA, { mode: 0o600 }));
  const bottom = [...BOTTOM, ...data];
  const layers = inUpper ? layersOf(marked, bottom) : layersOf([], marked, bottom);
  return {
    layers,
    operations: [...all.flatMap(([name]) => useFile(name)), ['readdir', '.']],
  };
}

/** A handle as overlayfs writes it, with a UUID and a file that are not there. */
const FOREIGN = `\0\xfb\x1d\0\x01${'u'.repeat(16)}${'h'.repeat(8)}`;
const ORIGINS: readonly string[] = [
  '',
  '\0',
  'x'.repeat(29),
  FOREIGN,
  FOREIGN.slice(0, 22),
  `${FOREIGN}more`,
  FOREIGN.replace('\x1d\0', '\x1d\x01'),
  `\x01${FOREIGN.slice(1)}`,
  `\0\xfb\xff\0\x01${'u'.repeat(16)}${'h'.repeat(234)}`,
];

function origins(): Hostile {
  const all = numbered(ORIGINS, 'o');
  const impure = { 'trusted.overlay.impure': 'y' };
  const upper = all.flatMap(([name, value]) => [
    dir(`${name}d`, { xattrs: { ...impure, [ORIGIN]: value } }),
    file(`${name}d/f`, 'upper', { xattrs: { [ORIGIN]: value } }),
  ]);
  return {
    layers: layersOf(upper, BOTTOM),
    operations: all.flatMap(([name]) => [...useFile(`${name}d/f`), ...useDirectory(`${name}d`)]),
  };
}

const OPAQUES = ['', 'n', 'Y', 'yy', 'y\0', '1', 'x', 'xx', 'o'.repeat(300)];

function opaques(): Hostile {
  const all = numbered(OPAQUES, 'd');
  const marked = all.flatMap(([name, value]) => [
    dir(name, { xattrs: { [OPAQUE]: value } }),
    file(`${name}/own`, 'own'),
  ]);
  const bottom = all.flatMap(([name]) => [dir(name), file(`${name}/below`, 'x')]);
  return {
    layers: layersOf([], marked, bottom),
    operations: all.flatMap(([name]) => useDirectory(name)),
  };
}

export const HOSTILE: Readonly<Record<string, Hostile>> = {
  'redirects of an upper that are none': refused(true),
  'redirects of a lower that are none': refused(false),
  'redirects of an upper that lead nowhere': nowhere(true),
  'redirects of a lower that lead nowhere': nowhere(false),
  'metadata-only copies of an upper': copies(true),
  'metadata-only copies of a lower': copies(false),
  'origins that are none': origins(),
  'opaque with other values': opaques(),
  'redirects that name each other': {
    layers: {
      ...layersOf(
        [to('d', '/real'), to('real', '/d')],
        [to('d', '/real'), to('real', 'd')],
        BOTTOM,
      ),
      // By way of the lower's real, whose d is not at the bottom.
      lost: ['d'],
    },
    operations: [...useLost('d'), ...useDirectory('real')],
  },
  'redirects to their own name': {
    layers: layersOf(
      [dir('real', { xattrs: { [REDIRECT]: 'real\0' } })],
      [dir('real', { xattrs: { [REDIRECT]: '/real' } })],
      BOTTOM,
    ),
    operations: useDirectory('real'),
  },
  'a whiteout with other links': {
    layers: layersOf([whiteout('suid'), hardlink('null', 'suid')], BOTTOM),
    operations: [
      ['readdir', '.'],
      ['lstat', 'suid'],
      ['open', 0, 'suid', O.CREAT | O.RDWR, 0o644],
      ['write', 0, 0, 'new'],
      ['mkdir', 'null', 0o755],
      ['rename', 'suid', 'again', 0],
      ['readdir', '.'],
    ],
  },
};
