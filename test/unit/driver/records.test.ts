import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openHome, type Home } from '../../../src/driver/snapshots/home.js';
import { mappingOptions, takeLabels } from '../../../src/driver/snapshots/labels.js';
import { chooseShown, present } from '../../../src/driver/snapshots/present.js';
import { Records, type Snapshot } from '../../../src/driver/snapshots/records.js';

let root: string;
let home: Home;
let release: () => void;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'stratafs-records-'));
  const opened = openHome(root);
  home = opened.home;
  release = () => opened.lock.release();
});

afterEach(() => {
  release();
  rmSync(root, { recursive: true });
});

const snapshot = (more: Partial<Snapshot> & Pick<Snapshot, 'id' | 'name'>): Snapshot => ({
  kind: 'committed',
  created: 1_700_000_000_123_456_789n,
  updated: 1_700_000_000_123_456_789n,
  labels: {},
  shown: 'unpack',
  ...more,
});

describe('the directory of a snapshotter', () => {
  it('is for one snapshotter at a time, and for nothing else', () => {
    expect(() => openHome(root)).toThrow('another snapshotter works in');
    expect(() => openHome('relative')).toThrow('must be an absolute path');
    expect(() => openHome('/a,b')).toThrow('plain characters');
    const other = mkdtempSync(join(tmpdir(), 'stratafs-records-'));
    writeFileSync(join(other, 'mine'), '');
    expect(() => openHome(other)).toThrow('is not empty (mine)');
    writeFileSync(join(other, 'version'), 'stratafs snapshots 99\n');
    expect(() => openHome(other)).toThrow('another version');
    rmSync(other, { recursive: true });
  });

  it('knows its own paths', () => {
    expect(home.find(`${root}/snapshots/12/fs`)).toEqual({ id: 12, part: 'fs' });
    for (const path of ['', '/x', '/1', '/1/fs/x', '/01/fs', '/1/other', '/../1/fs', '/0/fs']) {
      expect(home.find(`${root}/snapshots${path}`)).toBeUndefined();
    }
  });
});

describe('records of snapshots', () => {
  it('are what the files say, also for those who come later', () => {
    const records = new Records(home);
    const layer = snapshot({ id: 1, name: 'layer', labels: { a: 'ü' } });
    records.publish(layer);
    records.publish(snapshot({ id: 7, name: 'top', parent: 1, usage: { size: 4096, inodes: 2 } }));
    const again = new Records(home);
    expect(again.load()).toEqual([]);
    expect(again.all()).toEqual(records.all());
    expect(again.get('layer')).toEqual(layer);
    expect(again.parents(again.get('top'))).toEqual([layer]);
    expect(again.newId()).toBe(8);
    expect(again.hasChildren(1)).toBe(true);
    again.drop(again.get('top'));
    expect(again.hasChildren(1)).toBe(false);
    expect(readdirSync(home.state)).toEqual(['1.json']);
  });

  it('tell a damaged manifest and leave it alone', () => {
    const records = new Records(home);
    records.publish(snapshot({ id: 1, name: 'layer' }));
    const text = readFileSync(`${home.state}/1.json`, 'utf8');
    writeFileSync(`${home.state}/2.json`, text.slice(0, 20));
    // The same name twice: only one of them can be it.
    writeFileSync(`${home.state}/3.json`, text.replace('"id":1', '"id":3'));
    writeFileSync(`${home.state}/4.json`, text);
    writeFileSync(`${home.state}/.tmp`, '');
    const again = new Records(home);
    expect(again.load()).toEqual([2, 3, 4]);
    expect(again.all().map(({ id }) => id)).toEqual([1]);
    expect(again.newId()).toBe(5);
  });

  it('refuse a name that is in use or being taken', () => {
    const records = new Records(home);
    records.publish(snapshot({ id: 1, name: 'layer' }));
    records.reserve('new');
    for (const name of ['layer', 'new']) {
      expect(() => records.reserve(name)).toThrow('exists already');
    }
    records.free('new');
    records.reserve('new');
    expect(() => records.reserve('')).toThrow('needs a name');
    expect(() => records.get('nothing')).toThrow('does not exist');
    expect(() => records.parents({ name: 'x', parent: 9 })).toThrow('(number 9) is missing');
  });
});

describe('labels', () => {
  it('without a value are not there, and too long ones are refused', () => {
    expect(takeLabels({ a: 'b', c: '' })).toEqual({ a: 'b' });
    expect(() => takeLabels({ key: 'x'.repeat(4096) })).toThrow('more than 4096 bytes');
  });

  it('map IDs', () => {
    const uid = 'containerd.io/snapshot/uidmapping';
    const gid = 'containerd.io/snapshot/gidmapping';
    expect(mappingOptions({})).toEqual([]);
    expect(mappingOptions({ [uid]: '0:100000:1,1:5:9', [gid]: '0:7:1' })).toEqual([
      'uidmapping=0:100000:1:1:5:9',
      'gidmapping=0:7:1',
    ]);
    expect(() => mappingOptions({ [uid]: '0:1:1' })).toThrow('needs the other mapping');
    expect(() => mappingOptions({ [uid]: '-1:-1:-2', [gid]: '0:0:1' })).toThrow('CONTAINER:HOST');
  });
});

describe('what a client mounts', () => {
  const wanted = (name: string, hasParent: boolean, labels = {}) => ({
    kind: 'active' as const,
    name,
    labels,
    hasParent,
  });
  const mapped = {
    'containerd.io/snapshot/uidmapping': '0:1:1',
    'containerd.io/snapshot/gidmapping': '0:1:1',
  };

  it('depends on what the snapshot is for', () => {
    expect(chooseShown(wanted('default/4/extract-1-a sha256:b', true), 'bind', true)).toBe(
      'unpack',
    );
    expect(chooseShown(wanted('extract-1-a sha256:b', false), 'fuse3', true)).toBe('unpack');
    expect(chooseShown(wanted('extract-1-a sha256:b', true), 'bind', false)).toBe('union');
    expect(chooseShown(wanted('a/extract-1/b', true), 'bind', true)).toBe('union');
    expect(chooseShown(wanted('c', true), 'fuse3', true)).toBe('helper');
    expect(chooseShown(wanted('c', false), 'fuse3', true)).toBe('upper');
    expect(chooseShown(wanted('c', false, mapped), 'bind', true)).toBe('union');
  });

  it('names the layers, topmost first', () => {
    const parents = [snapshot({ id: 2, name: 'b', parent: 1 }), snapshot({ id: 1, name: 'a' })];
    const at = (rest: string): string => `${root}/snapshots/${rest}`;
    const mounts = (more: Partial<Snapshot>) =>
      present(home, snapshot({ id: 3, name: 'c', ...more }), parents);
    expect(mounts({ kind: 'view', shown: 'union' })).toEqual([
      { type: 'bind', source: at('3/merged'), options: ['ro', 'rbind'] },
    ]);
    expect(mounts({ kind: 'view', shown: 'helper' })).toEqual([
      {
        type: 'fuse3.stratafs',
        source: 'overlay',
        options: [`lowerdir=${at('2/fs')}:${at('1/fs')}`],
      },
    ]);
    expect(mounts({ kind: 'active', shown: 'helper', labels: mapped })[0].options).toEqual([
      `workdir=${at('3/work')}`,
      `upperdir=${at('3/fs')}`,
      `lowerdir=${at('2/fs')}:${at('1/fs')}`,
      'uidmapping=0:1:1',
      'gidmapping=0:1:1',
    ]);
    expect(present(home, snapshot({ id: 3, name: 'c', kind: 'active' }), [])[0]).toMatchObject({
      type: 'overlay',
      options: expect.arrayContaining([`lowerdir=${root}/empty`]) as unknown,
    });
  });
});
