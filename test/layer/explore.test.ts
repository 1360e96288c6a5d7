/** What `explore` says of layers, and that names out of layers stay names. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { exploredHtml } from '../../src/cli/explore/html.js';
import { exploredJson } from '../../src/cli/explore/json.js';
import { exploredText } from '../../src/cli/explore/text.js';
import { View } from '../../src/cli/explore/view.js';
import { explore, type Explored } from '../../src/store/explore/explore.js';
import { imageSubject } from '../../src/store/explore/subject.js';
import type { Store } from '../../src/store/state/store.js';
import { loadTar } from '../../src/store/transfer/load.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';
import type { Member } from '../support/tarball.js';
import { asSource, dockerArchive, makeImage, newStore } from '../support/storeImages.js';

const dir = (name: string) => ({ name, type: '5', mode: 0o755 });
const BASE = [
  dir('./'),
  dir('./etc/'),
  { name: './etc/one', data: '1'.repeat(1000) },
  { name: './etc/link', type: '1', target: 'etc/one' },
  { name: './etc/two', data: '2'.repeat(500) },
  dir('./old/'),
  { name: './old/a', data: 'a'.repeat(100) },
  { name: './old/b', data: 'b'.repeat(50) },
];
const TOP = [
  dir('./etc/'),
  { name: './etc/one', data: '1'.repeat(10) },
  { name: './etc/.wh.two', data: '' },
  dir('./old/'),
  { name: './old/.wh..wh..opq', data: '' },
  { name: './old/b', data: 'B'.repeat(5) },
];
const EVIL = '</script><img src=x onerror=alert(1)>\u001b[2Jé\n';

describe.skipIf(!has({ root: true }))('explore', () => {
  let store: Store;
  beforeEach(async () => {
    store = await newStore();
  });

  async function exploreImage(...layers: (readonly Member[])[]): Promise<Explored> {
    const image = makeImage(layers);
    await loadTar(store, asSource(dockerArchive([{ image, tags: ['a:1'] }])));
    return explore(imageSubject(store, 'a:1'));
  }

  test('tells what each layer adds, changes, removes, hides and wastes', async () => {
    const { layers, wastes, bytes, wasted } = await exploreImage(BASE, TOP);
    expect(layers.map(({ command }) => command)).toEqual(['step 0', 'step 1']);
    expect(
      layers[1].changes.map(({ kind, path, bytes: size }) => `${kind} ${path} ${size}`),
    ).toEqual(['C etc 0', 'C etc/one 10', 'C old 0', 'C old/b 5', 'D etc/two 500', 'D old/a 100']);
    // etc/one is still there as etc/link: its bytes are not wasted.
    expect(wastes).toEqual([
      { path: 'etc/two', bytes: 500, layer: 1, by: 2, how: 'removed' },
      { path: 'old/a', bytes: 100, layer: 1, by: 2, how: 'removed' },
      { path: 'old/b', bytes: 50, layer: 1, by: 2, how: 'replaced' },
    ]);
    expect([bytes, wasted, layers[0].wasted, layers[1].wasted]).toEqual([1665, 650, 650, 0]);
  });

  test('counts a directory that goes as one change, with all its bytes wasted', async () => {
    const { layers, wasted } = await exploreImage(BASE, [{ name: './.wh.old', data: '' }]);
    expect(layers[1].changes.map(({ kind, path }) => `${kind} ${path}`)).toEqual(['D old']);
    expect(wasted).toBe(150);
  });

  test('follows redirects and metadata-only copies of an upper: the bytes stay in their layer', () => {
    const at = scratch('explore');
    for (const name of ['low/d', 'up/d2']) mkdirSync(`${at}/${name}`, { recursive: true });
    writeFileSync(`${at}/low/d/big`, 'x'.repeat(4096));
    execFileSync('sh', [
      '-ec',
      'cd "$1"/up; mknod d c 0 0; setfattr -n trusted.overlay.redirect -v /d d2; truncate -s 4096 d2/big; setfattr -n trusted.overlay.metacopy d2/big; setfattr -n trusted.overlay.redirect -v /d/big d2/big',
      'sh',
      at,
    ]);
    const source = (path: string) => ({ id: path, command: '', created: undefined, path });
    const explored = explore({
      name: 'mount',
      layers: [source(`${at}/low`), source(`${at}/up`)],
      dataLayers: [],
      userxattr: false,
    });
    expect(explored.wasted).toBe(0);
    expect(explored.layers.map(({ bytes }) => bytes)).toEqual([4096, 0]);
    expect(explored.root.children?.get('d2')?.children?.get('big')?.layer).toBe(1);
    expect(explored.root.children?.has('d')).toBe(false);
  });

  test('quotes names out of layers, in text, JSON, the page and on the terminal', async () => {
    const name = Buffer.from(EVIL, 'utf8').toString('latin1');
    const explored = await exploreImage([
      dir('./'),
      { name: `./${name.replace('/', '')}`, data: 'x' },
    ]);
    const text = exploredText(explored, { top: 5, files: true });
    expect(text).toContain('\\x1b[2Jé\\x0a');
    expect(text).not.toContain('\u001b');
    const page = [...exploredHtml(explored, 5)].join('');
    expect(page.match(/<script/g)).toHaveLength(2);
    expect(page).not.toContain('<img');
    expect(page).not.toContain('\u001b');
    expect(page).toContain('&lt;script&gt;&lt;img src=x onerror=alert(1)&gt;');
    const json = JSON.parse([...exploredJson(explored, 5)].join('')) as {
      files: { path: string }[];
    };
    expect(json.files.at(-1)?.path).toBe(`/${EVIL.replace('/', '')}`);
    const screen = new View(explored).render(120, 20).join('\n');
    // Only our own codes: inverse, bold, and their end.
    expect(screen.replaceAll(/\u001b\[[017]m/g, '')).not.toContain('\u001b');
    expect(screen).toContain('\\x1b[2Jé');
  });

  test('answers keys: panes, views, folding, a text to find, and leaving', async () => {
    const view = new View(await exploreImage(BASE, TOP));
    const keys = (...names: string[]) => names.map((name) => view.key(name, name, 10));
    const screen = () => view.render(100, 24).join('\n');
    expect(screen()).toContain('▸ etc');
    expect(screen()).not.toContain('link');
    keys('tab', 'space');
    expect(screen()).toContain('▾ etc');
    expect(screen()).toContain('link');
    keys('w');
    expect(screen()).toContain('removed by 2 /old/a');
    keys('c');
    expect(screen()).toContain('D /etc/two');
    keys('tab', 'up');
    expect(screen()).toContain('A /etc/two');
    keys('f', '/', 'l', 'i', 'n', 'return');
    expect(screen()).toContain('link');
    expect(screen()).not.toContain('old');
    keys('escape', '?');
    expect(screen()).toContain('open or close a directory');
    expect(keys('x', 'q')).toEqual([true, false]);
    for (const line of view.render(40, 5)) {
      expect(Array.from(line.replaceAll(/\u001b\[\d+m/g, '')).length).toBeLessThanOrEqual(40);
    }
  });
});
