/**
 * What src/archive costs beside GNU tar: a layer of 12,000 files unpacked and packed, by turns.
 *
 *     npm run build && npx tsc -p bench/tsconfig.json
 *     node dist/bench/archive.js [--files 12000] [--rounds 5] [--dir /var/tmp]
 *
 * "Resident" runs in this process, as in a host or a snapshotter that has unpacked before; "fresh" is a
 * `node` started for it. tar neither digests nor syncs, src/archive always digests.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from './statistics.js';

interface Archive {
  readonly unpackLayer: (source: AsyncIterable<Uint8Array>, options: object) => Promise<unknown>;
  readonly packLayer: (
    source: object,
    sink: (bytes: Uint8Array) => void,
    options: object,
  ) => Promise<unknown>;
}

const at = (path: string): string => new URL(path, import.meta.url).href;

async function load(): Promise<Archive> {
  const [unpack, pack] = await Promise.all([
    import(at('../archive/unpack.js')) as Promise<Archive>,
    import(at('../archive/pack.js')) as Promise<Archive>,
  ]);
  return { unpackLayer: unpack.unpackLayer, packLayer: pack.packLayer };
}

/** The same numbers every time (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Sizes as in a Debian root: half below 4 KiB, some of a few hundred. */
function makeTree(root: string, files: number): number {
  const next = numbers(1);
  let bytes = 0;
  for (let i = 0; i < files; i++) {
    const dir = join(root, `usr/d${i % 40}/e${Math.floor(i / 40) % 15}`);
    mkdirSync(dir, { recursive: true });
    const normal = Math.sqrt(-2 * Math.log(next() + 1e-9)) * Math.cos(2 * Math.PI * next());
    const size = Math.min(400_000, Math.floor(Math.exp(8.3 + 1.6 * normal)));
    const data = Buffer.alloc(size, `file ${i} has some text in it\n`);
    for (let at = 0; at < size; at += 7) data[at] = Math.floor(next() * 256);
    writeFileSync(join(dir, `file${i}.txt`), data);
    bytes += size;
  }
  return bytes;
}

function must(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '12000' },
    rounds: { type: 'string', default: '5' },
    dir: { type: 'string', default: '/var/tmp' },
  },
});
const archive = await load();
const top = mkdtempSync(join(values.dir, 'stratafs-archive-'));
const [tree, tar, out, made] = ['tree', 'tree.tar', 'out', 'made.tar'].map((name) =>
  join(top, name),
);

function fresh(code: string): void {
  must(process.execPath, ['--input-type=module', '-e', code]);
}

const unpackInto = (sync: boolean): Promise<unknown> =>
  archive.unpackLayer(createReadStream(tar, { highWaterMark: 256 * 1024 }), { root: out, sync });

async function packTo(style: string): Promise<void> {
  const fd = openSync(made, 'w');
  await archive.packLayer({ kind: 'tree', root: tree }, (bytes) => void writeSync(fd, bytes), {
    style,
  });
  closeSync(fd);
}

const FRESH_UNPACK = `
import { createReadStream } from 'node:fs';
const { unpackLayer } = await import(${JSON.stringify(at('../archive/unpack.js'))});
await unpackLayer(createReadStream(${JSON.stringify(tar)}, { highWaterMark: 262144 }), { root: ${JSON.stringify(out)}, sync: false });`;
const FRESH_PACK = `
import { closeSync, openSync, writeSync } from 'node:fs';
const { packLayer } = await import(${JSON.stringify(at('../archive/pack.js'))});
const fd = openSync(${JSON.stringify(made)}, 'w');
await packLayer({ kind: 'tree', root: ${JSON.stringify(tree)} }, (bytes) => void writeSync(fd, bytes), { style: 'docker' });
closeSync(fd);`;

const ROWS: readonly [name: string, against: string, run: () => unknown][] = [
  ['tar -x', 'tar -x', () => must('tar', ['-xf', tar, '-C', out])],
  ['unpackLayer, resident', 'tar -x', () => unpackInto(false)],
  ['unpackLayer, fresh', 'tar -x', () => fresh(FRESH_UNPACK)],
  [
    'tar -x && sync -f',
    'tar -x && sync -f',
    () => must('sh', ['-c', `tar -xf ${tar} -C ${out} && sync -f ${out}`]),
  ],
  ['unpackLayer, synced', 'tar -x && sync -f', () => unpackInto(true)],
  ['tar -c', 'tar -c', () => must('tar', ['-cf', made, '-C', tree, '.'])],
  ['packLayer docker, resident', 'tar -c', () => packTo('docker')],
  ['packLayer full, resident', 'tar -c', () => packTo('full')],
  ['packLayer docker, fresh', 'tar -c', () => fresh(FRESH_PACK)],
];

async function measure(): Promise<void> {
  const bytes = makeTree(tree, Number(values.files));
  must('tar', ['-cf', tar, '-C', tree, '.']);
  console.log(
    `${values.files} files, ${(bytes / 1e6).toFixed(0)} MB, in ${values.dir}; ${cpus().length} cores, Linux ${release()}, Node ${process.version}`,
  );
  const times = new Map<string, number[]>(ROWS.map(([name]) => [name, []]));
  // The first round warms the page cache and this process up.
  for (let round = 0; round <= Number(values.rounds); round++) {
    for (let i = 0; i < ROWS.length; i++) {
      const [name, , run] = ROWS[(i + round) % ROWS.length];
      mkdirSync(out);
      must('sync', ['-f', top]);
      const start = performance.now();
      await run();
      const ms = performance.now() - start;
      rmSync(out, { recursive: true });
      rmSync(made, { force: true });
      if (round > 0) times.get(name)?.push(ms);
    }
  }
  console.log(
    `load ${loadavg()[0].toFixed(1)}; medians of ${values.rounds}, ms, and the median of the ratios in each round`,
  );
  for (const [name, against] of ROWS) {
    const [own, other] = [times.get(name) ?? [], times.get(against) ?? []];
    const ratio = median(own.map((ms, i) => ms / other[i]));
    console.log(`${name.padEnd(28)}${median(own).toFixed(0).padStart(7)}  ${ratio.toFixed(2)}`);
  }
}

try {
  await measure();
} finally {
  rmSync(top, { recursive: true, force: true });
}
