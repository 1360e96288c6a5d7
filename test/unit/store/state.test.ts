import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findByPrefix, newId } from '../../../src/store/state/ids.js';
import { readLeases } from '../../../src/store/state/lease.js';
import { takeLock, tryLock } from '../../../src/store/state/lock.js';
import { storeRoot } from '../../../src/store/state/place.js';
import { openStore } from '../../../src/store/state/store.js';
import { scratch } from '../../support/run.js';

const hex = 'ab'.repeat(32);

describe('the place', () => {
  const home = { HOME: '/home/u' };

  test('root has /var/lib/stratafs, others their data directory', () => {
    expect(storeRoot(undefined, home, 0)).toBe('/var/lib/stratafs');
    expect(storeRoot(undefined, home, 1000)).toBe('/home/u/.local/share/stratafs');
    expect(storeRoot(undefined, { ...home, XDG_DATA_HOME: '/d' }, 1000)).toBe('/d/stratafs');
    expect(storeRoot(undefined, { ...home, XDG_DATA_HOME: 'd' }, 1000)).toBe(
      '/home/u/.local/share/stratafs',
    );
  });

  test('root inside the user namespace of a user has that user’s', () => {
    expect(storeRoot(undefined, { ...home, STRATAFS_ROOTLESS: '1000:1000' }, 0)).toBe(
      '/home/u/.local/share/stratafs',
    );
  });

  test('--root goes before STRATAFS_ROOT, and both must be absolute', () => {
    expect(storeRoot('/r/', { STRATAFS_ROOT: '/e' }, 0)).toBe('/r');
    expect(storeRoot(undefined, { STRATAFS_ROOT: '/e' }, 0)).toBe('/e');
    expect(() => storeRoot('r', {}, 0)).toThrow("--root must be an absolute path, not 'r'");
    expect(() => storeRoot(undefined, {}, 1000)).toThrow('no place for the store');
  });
});

describe('opening', () => {
  test('makes a store once and opens it again', async () => {
    const root = join(scratch('store'), 'new/store');
    await Promise.all([openStore({ root }), openStore({ root }), openStore({ root })]);
    expect(readFileSync(join(root, 'version'), 'utf8')).toBe('stratafs store 1\n');
    expect((await openStore({ root })).list('images')).toEqual([]);
  });

  test('refuses a store of another version', async () => {
    const root = scratch('store');
    writeFileSync(join(root, 'version'), 'stratafs store 2\n');
    await expect(openStore({ root })).rejects.toThrow(/another version \('stratafs store 2'/);
  });

  test('refuses a directory with something else in it, and touches nothing', async () => {
    const root = scratch('store');
    writeFileSync(join(root, 'letter.txt'), '');
    await expect(openStore({ root })).rejects.toThrow(/no stratafs store and is not empty/);
    expect(readdirSync(root)).toEqual(['letter.txt']);
  });

  test('finishes a store whose making was cut off', async () => {
    const root = scratch('store');
    mkdirSync(join(root, 'state/images'), { recursive: true });
    expect((await openStore({ root })).list('layers')).toEqual([]);
  });
});

describe('manifests', () => {
  test('are published, read, listed and removed with their data', async () => {
    const store = await openStore({ root: scratch('store') });
    store.publish('builds', hex, { uses: ['blobs/1'] });
    mkdirSync(`${store.dataOf('builds', hex)}/etc`, { recursive: true });
    expect(store.read('builds', hex)).toEqual({ uses: ['blobs/1'] });
    expect(store.list('builds')).toEqual([hex]);
    expect(store.remove('builds', hex)).toBe(true);
    expect(store.remove('builds', hex)).toBe(false);
    expect(existsSync(store.dataOf('builds', hex))).toBe(false);
    expect(readdirSync(join(store.root, 'trash'))).toEqual([]);
  });

  test('never leave their directory, whatever the key', async () => {
    const store = await openStore({ root: scratch('store') });
    for (const key of ['../x', 'a/b', '.', '..', '', '.hidden', 'a\0b', 'x'.repeat(300)]) {
      expect(() => {
        store.publish('volumes', key, {});
      }, key).toThrow(/is not a name/);
    }
  });

  test('that are damaged are named', async () => {
    const store = await openStore({ root: scratch('store') });
    writeFileSync(join(store.root, `state/images/${hex}.json`), '{"id":');
    expect(() => store.read('images', hex)).toThrow(/is damaged: run stratafs fsck/);
    // JSON, but not what an image's manifest says.
    for (const text of ['[]', '7', '{"id":"x"}', '{"uses":[1]}']) {
      writeFileSync(join(store.root, `state/images/${hex}.json`), text);
      expect(() => store.read('images', hex), text).toThrow(/is damaged/);
    }
  });
});

describe('locks', () => {
  test('exclude, and go with a holder that is killed', async () => {
    const path = join(scratch('lock'), 'lock');
    const script = 'exec 9>>"$0"; flock 9; echo held; exec sleep 60';
    const holder = spawn('sh', ['-c', script, path]);
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    expect(tryLock(path)).toBeUndefined();
    await expect(takeLock(path, 20)).rejects.toThrow(/is locked by another stratafs command/);
    holder.kill('SIGKILL');
    const lock = await takeLock(path, 10_000);
    expect(tryLock(path)).toBeUndefined();
    lock.release();
    tryLock(path)!.release();
  });

  test('store.locked lets one in at a time', async () => {
    const store = await openStore({ root: scratch('store') });
    let inside = 0;
    const one = () =>
      store.locked(async () => {
        expect(++inside).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 2));
        inside--;
      });
    await Promise.all(Array.from({ length: 8 }, one));
  });
});

describe('leases', () => {
  test('count while they are held, and are leftovers without a holder', async () => {
    const store = await openStore({ root: scratch('store') });
    const lease = await store.lease();
    lease.keep(`images/${hex}`);
    expect(readLeases(store.root)).toEqual({ uses: [`images/${hex}`], dead: [] });
    const left = join(store.root, 'leases/left');
    mkdirSync(left);
    writeFileSync(join(left, 'uses'), `images/${hex}\n`);
    lease.release();
    expect(readLeases(store.root)).toEqual({ uses: [], dead: [left] });
  });
});

describe('IDs', () => {
  test('are found by a prefix that no other has', () => {
    const keys = [`aaa1${hex}`.slice(0, 64), `aaa2${hex}`.slice(0, 64)];
    expect(findByPrefix(keys, 'aaa1', 'image')).toBe(keys[0]);
    expect(findByPrefix(keys, `sha256:${keys[1]}`, 'image')).toBe(keys[1]);
    expect(findByPrefix(keys, 'b', 'image')).toBeUndefined();
    expect(findByPrefix(keys, 'zebra', 'image')).toBeUndefined();
    expect(() => findByPrefix(keys, 'aaa', 'image')).toThrow('aaa is the beginning of 2 image IDs');
  });

  test('are random', () => {
    expect(newId()).toMatch(/^[0-9a-f]{64}$/);
    expect(newId()).not.toBe(newId());
  });
});
