/**
 * Archives that nobody made in good faith: each is refused in one sentence, nothing of it is left, and
 * nothing outside of the layer was touched.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unpackLayer } from '../../src/archive/unpack.js';
import type { UnpackOptions } from '../../src/archive/types.js';
import { UserError } from '../../src/base/errno.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';
import { type Member, member, pieces, tarball } from '../support/tarball.js';

let top: string;
let root: string;
const SECRET = 'outside';

beforeEach(() => {
  top = scratch('archive-hostile');
  root = join(top, 'layer');
  mkdirSync(root);
  mkdirSync(join(top, 'outside'));
  writeFileSync(join(top, 'outside/file'), SECRET);
});
afterEach(() => {
  rmSync(top, { recursive: true, force: true });
});

async function refusal(bytes: Buffer, options: Partial<UnpackOptions> = {}): Promise<string> {
  const error: unknown = await unpackLayer(pieces(bytes, 1000), { root, ...options }).then(
    (unpacked) => new Error(`accepted: ${JSON.stringify(unpacked)}`),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  expect(readdirSync(root)).toEqual([]);
  expect(readdirSync(top).sort()).toEqual(['layer', 'outside']);
  expect(readFileSync(join(top, 'outside/file'), 'latin1')).toBe(SECRET);
  const { message } = error as UserError;
  expect(message.split('\n')).toHaveLength(1);
  return message;
}

const file = (name: string, more: Partial<Member> = {}): Member => ({ name, data: 'x', ...more });
const link = (name: string, target: string): Member => ({ name, type: '1', target });
const symlink = (name: string, target: string): Member => ({ name, type: '2', target });
const dir = (name: string): Member => ({ name, type: '5', mode: 0o755 });

describe.runIf(has({ root: true }))('hostile archives', () => {
  const cases: [string, Member[], RegExp][] = [
    ['a name that climbs', [file('../outside/file')], /climbs/],
    ['a name that climbs on the way', [dir('a'), file('a/../../outside/file')], /climbs/],
    ['a name that climbs and comes back', [file('a/../layer/b')], /climbs/],
    ['a climbing name in an extended header', [file('a', { pax: { path: '../b' } })], /climbs/],
    ['a symlink on the way', [symlink('a', '../outside'), file('a/file')], /lies below "a"/],
    ['an absolute symlink on the way', [symlink('a', '/tmp'), file('a/b/c')], /lies below/],
    [
      'a symlink on the way that stays inside',
      [dir('d'), symlink('a', 'd'), file('a/b')],
      /lies below/,
    ],
    ['a file on the way', [file('a'), file('a/b')], /lies below/],
    ['a hard link to the outside', [link('a', '../outside/file')], /climbs/],
    [
      'a hard link through a symlink',
      [symlink('a', '../outside'), link('b', 'a/file')],
      /lies below/,
    ],
    ['a hard link to nothing', [link('a', 'b')], /not in the archive/],
    [
      'a hard link to a whiteout',
      [file('.wh.b', { data: '' }), link('a', 'b')],
      /not in the archive/,
    ],
    ['a hard link to a directory', [dir('d'), link('a', 'd')], /a directory/],
    ['a hard link to the root', [link('a', '/')], /not in the archive/],
    ['a file for the root', [file('./')], /would replace the root/],
    ['a whiteout that climbs', [file('.wh...', { data: '' })], /whiteout of nothing/],
    ['a whiteout of its directory', [file('.wh..', { data: '' })], /whiteout of nothing/],
    ['a whiteout of nothing', [file('.wh.', { data: '' })], /whiteout of nothing/],
    ['something below a whiteout', [file('.wh.a/b')], /below a whiteout/],
    ['a kind that is unknown', [file('a', { type: 'Z' })], /kind/],
    ['an owner nobody can be', [file('a', { pax: { uid: '4294967295' } })], /belongs to/],
    ['a negative owner', [file('a', { pax: { gid: '-1' } })], /belongs to/],
    [
      'a device beyond 20 bits',
      [file('a', { type: '3', data: '', pax: { 'SCHILY.devminor': '1048576' } })],
      /device/,
    ],
    ['a negative size', [file('a', { pax: { size: '-1' } })], /negative/],
    [
      'a size beyond what is exact',
      [file('a', { pax: { size: '9007199254740992' } })],
      /extended header/,
    ],
    ['a wrong checksum', [file('a'), file('b', { sumError: 1 })], /checksum/],
    ['letters for a number', [file('a', { patch: (b) => b.write('zz', 124) })], /number/],
    ['a name too long', [file('a', { pax: { path: 'n'.repeat(256) } })], /longer than 255/],
    ['a name too deep', [file('a', { pax: { path: 'd/'.repeat(1001) + 'f' } })], /parts/],
    [
      'an xattr too large',
      [file('a', { pax: { 'SCHILY.xattr.user.a': 'v'.repeat(65537) } })],
      /64 KiB/,
    ],
    ['an xattr without a name', [file('a', { pax: { 'SCHILY.xattr.': 'v' } })], /xattr/],
    [
      'an ACL that is none',
      [file('a', { pax: { 'SCHILY.acl.access': 'user:rwx:' } })],
      /access control/,
    ],
    [
      'an ACL with a name alone',
      [file('a', { pax: { 'SCHILY.acl.access': 'user:bob:rwx' } })],
      /bob/,
    ],
    [
      'a sparse map outside the file',
      [file('a', { pax: { 'GNU.sparse.map': '5,1', 'GNU.sparse.size': '5' } })],
      /map/,
    ],
    [
      'a sparse map backwards',
      [file('a', { data: 'xy', pax: { 'GNU.sparse.map': '5,1,0,1', 'GNU.sparse.size': '9' } })],
      /map/,
    ],
    [
      'a sparse map for other data',
      [file('a', { data: 'xy', pax: { 'GNU.sparse.map': '0,1', 'GNU.sparse.size': '9' } })],
      /map/,
    ],
    ['a sparse file of version 2', [file('a', { pax: { 'GNU.sparse.major': '2' } })], /version 2/],
    [
      'a map 1.0 that does not end',
      [
        file('a', {
          data: '9\n'.padEnd(512, '1'),
          pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' },
        }),
      ],
      /map/,
    ],
    ['a NUL in a name', [file('a', { pax: { path: 'a\0b' } })], /NUL/],
    ['a terminal escape in a name', [file('\x1b[2J/../x')], /climbs/],
  ];
  it.each(cases)('%s', async (_, members, sentence) => {
    const message = await refusal(tarball([file('before'), ...members]));
    expect(message).toMatch(sentence);

    expect(message).not.toMatch(/[\x00-\x1f]/);
  });

  it.each([
    ['in a header', 300],
    ['behind a header', 512],
    ['in the data', 700],
    ['between members', 1024],
  ])('an archive cut off %s', async (_, size) => {
    const whole = tarball([file('a', { data: 'x'.repeat(600) }), file('b')]);
    expect(await refusal(whole.subarray(0, size))).toMatch(/damaged/);
  });

  it('an archive without its end mark, unless its digest is known', async () => {
    const cut = member(file('a'));
    expect(await refusal(cut)).toMatch(/end mark/);
    const diffId = `sha256:${createHash('sha256').update(cut).digest('hex')}`;
    const unpacked = await unpackLayer(pieces(cut), { root, expect: { diffId } });
    expect(unpacked).toMatchObject({ diffId, entries: 1, size: 1024 });
  });

  it('a stream of gzip cut off, with something behind it, or damaged', async () => {
    const whole = gzipSync(tarball([file('a', { data: Buffer.alloc(100_000, 'ab') })]));
    expect(await refusal(whole.subarray(0, whole.length - 9))).toMatch(/gzip/);
    expect(await refusal(Buffer.concat([whole, Buffer.from('more')]))).toMatch(/gzip/);
    const damaged = Buffer.from(whole);
    damaged[whole.length - 6] ^= 1;
    expect(await refusal(damaged)).toMatch(/gzip/);
  });

  it('other digests and sizes than were expected', async () => {
    const bytes = tarball([file('a')]);
    const other = `sha256:${'0'.repeat(64)}`;
    expect(await refusal(bytes, { expect: { digest: other } })).toMatch(/its digest is sha256:/);
    expect(await refusal(bytes, { expect: { diffId: other } })).toMatch(/its diff ID is sha256:/);
    expect(await refusal(bytes, { expect: { size: bytes.length + 1 } })).toMatch(/announced/);
    expect(await refusal(bytes, { expect: { size: bytes.length - 1 } })).toMatch(/announced/);
    expect(await refusal(bytes, { expect: { digest: 'md5:0' } })).toMatch(/sha256/);
  });

  it('a decompression bomb', async () => {
    const zeros = tarball([file('a', { data: Buffer.alloc(50_000_000) })]);
    const message = await refusal(gzipSync(zeros), { limits: { bytes: 10_000_000 } });
    expect(message).toMatch(/too large when it is unpacked; the limit is 10000000/);
  });

  it('more entries, longer headers and more ranges than are allowed', async () => {
    const many = tarball(Array.from({ length: 20 }, (_, i) => file(`f${i}`)));
    expect(await refusal(many, { limits: { entries: 19 } })).toMatch(/too many entries/);
    const long = tarball([file('a', { pax: { comment: 'c'.repeat(5000) } })]);
    expect(await refusal(long, { limits: { header: 4096 } })).toMatch(
      /extended header is too large/,
    );
    const map = tarball([
      file('a', { data: '', pax: { 'GNU.sparse.map': '0,0,1,0,2,0', 'GNU.sparse.size': '9' } }),
    ]);
    expect(await refusal(map, { limits: { extents: 2 } })).toMatch(/too many ranges/);
  });

  it('a size that no header keeps its promise for takes no memory', async () => {
    const liar = tarball([{ name: 'a', type: 'x', size: 4_000_000 }]);
    expect(await refusal(liar)).toMatch(/ends too early/);
  });

  it('does not write through what it made before: a device, a FIFO, a symlink', async () => {
    const members = [
      { name: 'device', type: '3', major: 1, minor: 3 },
      { name: 'fifo', type: '6' },
      symlink('symlink', '../outside/file'),
      dir('directory'),
      file('directory/inside'),
    ];
    const names = ['device', 'fifo', 'symlink', 'directory'];
    await unpackLayer(pieces(tarball([...members, ...names.map((name) => file(name))])), { root });
    for (const name of names) expect(readFileSync(join(root, name), 'latin1')).toBe('x');
    expect(readFileSync(join(top, 'outside/file'), 'latin1')).toBe(SECRET);
  });

  it('removes what it cannot enter', async () => {
    const message = await refusal(
      tarball([{ name: 'closed', type: '5', mode: 0 }, file('closed/a'), file('../b')]),
    );
    expect(message).toMatch(/climbs/);
  });

  it('leaves a directory alone that is not empty', async () => {
    writeFileSync(join(root, 'mine'), 'mine');
    await expect(unpackLayer(pieces(tarball([file('a')])), { root })).rejects.toThrow(/not empty/);
    expect(readdirSync(root)).toEqual(['mine']);
  });

  it('ends when it is aborted, with nothing left', async () => {
    const abort = new AbortController();
    const endless = async function* (): AsyncGenerator<Buffer, void> {
      for (let i = 0; ; i++) {
        if (i === 50) abort.abort(new Error('enough'));
        yield member(file(`f${i}`));
        await Promise.resolve();
      }
    };
    const done = unpackLayer(endless(), { root, signal: abort.signal });
    await expect(done).rejects.toThrow('enough');
    expect(readdirSync(root)).toEqual([]);
  });

  it('passes an error of the source on, with nothing left', async () => {
    const failing = async function* (): AsyncGenerator<Buffer, void> {
      yield member(file('a'));
      await Promise.resolve();
      throw new Error('the network is gone');
    };
    await expect(unpackLayer(failing(), { root })).rejects.toThrow('the network is gone');
    expect(readdirSync(root)).toEqual([]);
  });
});
