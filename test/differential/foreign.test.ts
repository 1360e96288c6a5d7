/**
 * With its upper on a file system that lacks flags of rename, file handles and more, stratafs does what
 * kernel overlayfs does on ext4; and kernel overlayfs, with the same directories on ext4, sees it.
 */
import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { compare, type Pair } from './compare.js';
import type { ForeignKind } from './foreign.js';
import { commandOf, type Operation, RENAME } from './operations.js';
import { LAYERS, SCRIPTS } from './scripts.js';

/** What these file systems cannot do themselves, whoever asks: answered as by them. */
function isThere(operation: Operation): boolean {
  const [name, ...words] = commandOf(operation);
  if (name === 'rename') return words[2] !== RENAME.EXCHANGE;
  return name !== 'fallocate' && name !== 'lseek';
}

/**
 * What the file system below does by itself, also without a union: fuse2fs keeps whole seconds; both show
 * attributes of up to a second ago (times, link counts); FUSE takes set-ID bits away with a chown.
 */
function isOwnDoing(difference: string): boolean {
  const field = /: (mtime|ns|nlink) is /.test(difference);
  const [subject, reference] = ['subject', 'reference'].map((side) =>
    new RegExp(`${side}: +ok (.*)`).exec(difference)?.[1]?.split(' '),
  );
  if (field || !subject || !reference)
    return field || /: mode is 10\d+ \| 106\d+$/.test(difference);
  const [mode, , ...rest] = subject.slice(0, -1);
  const [mode2, , ...rest2] = reference.slice(0, -1);
  return rest.join(' ') === rest2.join(' ') && Number(mode) % 1000 === Number(mode2) % 1000;
}

/** Scripts about what fuse2fs lacks or does in its own way, tried there without a union. */
const LACKING: Readonly<Record<ForeignKind, readonly string[]>> = {
  bindfs: [],
  fuse2fs: [
    // Default ACLs and set-group-id directories are not inherited; the daemon's umask counts.
    'ACLs are inherited, enforced and kept over copy-up',
    'groups and modes of new files',
    'a supplementary group counts in a directory that passes its group on',
    'a removed and remade directory shows nothing of the lowers',
    // XATTR_CREATE, XATTR_REPLACE and namespaces mean nothing; symlinks end at a block.
    'extended attributes of lower objects change in the upper',
    'names are bytes, of at most 255',
    'an xattr is as large as the upper takes it',
    'a value longer than the buffer is ERANGE',
  ],
};

const KINDS: readonly ForeignKind[] = ['bindfs', 'fuse2fs'];

for (const foreign of KINDS) {
  const pair: Pair = {
    ...{ subject: 'stratafs', reference: 'kernel', features: 'unindexed', options: [] },
    foreign,
  };
  const needs = {
    ...{ root: true, fuse: true, kernelOverlay: true, stratafs: true, loop: true },
    programs: ['gcc', foreign, 'mkfs.ext4'],
  };
  describe.skipIf(!has(needs))(`with its upper on ${foreign}`, () => {
    for (const [script, operations] of Object.entries(SCRIPTS)) {
      if (LACKING[foreign].includes(script)) continue;
      test(script, async () => {
        const found = await compare(pair, LAYERS, operations.filter(isThere));
        const said = found.map(({ where, text }) => `${where}: ${text}`);
        expect(said.filter((text) => !isOwnDoing(text))).toEqual([]);
      });
    }
  });
}
