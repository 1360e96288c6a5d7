/** Data by fio, as a table: each job a row, in µs for each read or write. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MIB } from '../bigFile.js';
import type { Context, Outcome, Trial } from '../types.js';
import { target } from './shape.js';

/** What the jobs work on: the beginning of the large file, or an upper file of this size. */
const REGION = 64 * MIB;

interface FioJob {
  readonly id: string;
  readonly title: string;
  readonly rw: 'read' | 'randread' | 'write' | 'randwrite';
  readonly block: number;
  /** Bytes read or written. */
  readonly amount: number;
  readonly cache: 'cold' | 'warm';
  readonly options?: readonly string[];
}

const DIRECT = ['--direct=1'];
const MMAP = ['--ioengine=mmap'];
const SYNC = ['--end_fsync=1'];
const SEQUENTIAL = { block: 128 * 1024, amount: REGION };
const RANDOM = { block: 4096 };

const JOBS: Readonly<Record<string, readonly FioJob[]>> = {
  'fio-read': [
    { id: 'cold', title: 'cold', rw: 'read', cache: 'cold', ...SEQUENTIAL },
    { id: 'warm', title: 'warm', rw: 'read', cache: 'warm', ...SEQUENTIAL },
    { id: 'direct', title: 'O_DIRECT', rw: 'read', cache: 'cold', options: DIRECT, ...SEQUENTIAL },
    { id: 'mmap', title: 'mmap, cold', rw: 'read', cache: 'cold', options: MMAP, ...SEQUENTIAL },
  ],
  'fio-randread': [
    { id: 'cold', title: 'cold', rw: 'randread', cache: 'cold', amount: 8 * MIB, ...RANDOM },
    { id: 'warm', title: 'warm', rw: 'randread', cache: 'warm', amount: REGION, ...RANDOM },
    {
      id: 'direct',
      title: 'O_DIRECT',
      rw: 'randread',
      cache: 'cold',
      amount: 8 * MIB,
      options: DIRECT,
      ...RANDOM,
    },
    {
      id: 'mmap',
      title: 'mmap, warm',
      rw: 'randread',
      cache: 'warm',
      amount: REGION,
      options: MMAP,
      ...RANDOM,
    },
  ],
  'fio-write': [
    {
      id: 'sync',
      title: 'and one fsync',
      rw: 'write',
      cache: 'warm',
      options: SYNC,
      ...SEQUENTIAL,
    },
    { id: 'direct', title: 'O_DIRECT', rw: 'write', cache: 'cold', options: DIRECT, ...SEQUENTIAL },
    {
      id: 'mmap',
      title: 'mmap and one fsync',
      rw: 'write',
      cache: 'warm',
      options: [...MMAP, ...SYNC],
      ...SEQUENTIAL,
    },
  ],
  'fio-randwrite': [
    {
      id: 'sync',
      title: 'and one fsync',
      rw: 'randwrite',
      cache: 'warm',
      amount: 32 * MIB,
      options: SYNC,
      ...RANDOM,
    },
    {
      id: 'direct',
      title: 'O_DIRECT',
      rw: 'randwrite',
      cache: 'cold',
      amount: 8 * MIB,
      options: DIRECT,
      ...RANDOM,
    },
    {
      id: 'mmap',
      title: 'mmap and one fsync',
      rw: 'randwrite',
      cache: 'warm',
      amount: 32 * MIB,
      options: [...MMAP, ...SYNC],
      ...RANDOM,
    },
    {
      id: 'fsync',
      title: 'fsync after each',
      rw: 'randwrite',
      cache: 'warm',
      amount: 200 * 4096,
      options: ['--fsync=1'],
      ...RANDOM,
    },
  ],
};

const TITLES: Readonly<Record<string, string>> = {
  'fio-read': 'fio: sequential reads of 128 KiB',
  'fio-randread': 'fio: random reads of 4 KiB',
  'fio-write': 'fio: sequential writes of 128 KiB',
  'fio-randwrite': 'fio: random writes of 4 KiB',
};

interface FioResult {
  readonly jobs: readonly Record<
    'read' | 'write',
    { readonly runtime: number; readonly total_ios: number }
  >[];
}

/** µs for each read or write, from fio's JSON (runtime in ms, the closing fsync included). */
export function perOperation(text: string, kind: 'read' | 'write'): number {
  const { jobs } = JSON.parse(text) as FioResult;
  const [job] = jobs;
  if (job[kind].total_ios === 0) throw new Error('fio has done nothing');
  return (job[kind].runtime * 1000) / job[kind].total_ios;
}

function fioCommand(job: FioJob, file: string, output: string): string[] {
  return [
    ...['fio', '--name=bench', '--thread', '--ioengine=psync', '--invalidate=0'],
    ...[`--filename=${file}`, `--size=${REGION}`, `--rw=${job.rw}`, `--bs=${job.block}`],
    ...[`--io_size=${job.amount}`, '--randrepeat=1', '--norandommap'],
    ...['--output-format=json', `--output=${output}`, ...(job.options ?? [])],
  ];
}

function perform(context: Context, name: string, job: FioJob): number {
  const reads = job.rw.endsWith('read');
  const file = reads ? join(context.tree(), 'big/data') : `${target(context)}-fio`;
  if (!reads) {
    const dd = ['dd', 'if=/dev/zero', `of=${file}`, 'bs=1M', 'conv=fsync,notrunc', 'status=none'];
    context.client('/', 'exec', '1', ...dd, `count=${REGION / MIB}`);
  }
  if (job.cache === 'cold') context.cold(['fio', '--version']);
  else context.client('/', 'exec', '1', 'dd', `if=${file}`, 'of=/dev/null', 'bs=1M', 'status=none');
  if (reads && job.cache === 'cold' && job.options !== DIRECT) context.memory();
  const output = join(context.directory, `${name}-${job.id}.json`);
  context.client('/', 'exec', '1', ...fioCommand(job, file, output));
  return perOperation(readFileSync(output, 'utf8'), reads ? 'read' : 'write');
}

/** A job that a driver refuses (O_DIRECT, shared mappings) costs it that row only. */
function performAll(context: Context, name: string, jobs: readonly FioJob[]): Outcome {
  const values: Record<string, number> = {};
  const reasons: Record<string, string> = {};
  for (const job of jobs) {
    const row = `${name}.${job.id}`;
    try {
      values[row] = perform(context, name, job);
    } catch (error) {
      reasons[row] = (error as Error).message;
    }
  }
  return { values, reasons };
}

export const fioTrials: readonly Trial[] = Object.entries(JOBS).map(([name, jobs]) => ({
  name,
  group: 'Data',
  large: true,
  programs: ['fio'],
  rows: jobs.map(({ id, title }) => ({
    id: `${name}.${id}`,
    title: `${TITLES[name] ?? name}, ${title} (each)`,
    unit: 'µs',
  })),
  run: (context) => performAll(context, name, jobs),
}));
