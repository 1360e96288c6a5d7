/**
 * Trials that read and write data. What is written has been written and synced once before, and
 * then written over: the first write of a block is the disk's own affair (a disk image that grows,
 * as most virtual ones, takes 4 to 6 times as long for it), and would hide the driver.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MIB } from '../bigFile.js';
import { median } from '../statistics.js';
import type { Context, Trial } from '../types.js';
import { MS, once, target } from './shape.js';

const sequentialWrite: Trial = {
  name: 'write',
  group: 'Data',
  large: true,
  short: true,
  rows: [{ id: 'write', title: 'sequential write of half the large file + fsync', unit: 'ms' }],
  run: (context) => {
    const to = target(context);
    const write = [
      ...['dd', 'if=/dev/zero', `of=${to}`, 'bs=1M', 'conv=fsync,notrunc', 'status=none'],
      `count=${context.fixture.bigBytes / (2 * MIB)}`,
    ];
    context.client('/', 'exec', '1', ...write);
    context.cold(['dd', '--version']);
    return { values: { write: median(context.client('/', 'exec', '5', ...write)) / MS } };
  },
};

const smallWrites: Trial = {
  name: 'small-writes',
  group: 'Data',
  large: true,
  rows: [
    { id: 'append', title: '20,000 appends of 100 bytes', unit: 'ms' },
    { id: 'write.4k', title: '16,384 writes of 4 KiB', unit: 'ms' },
  ],
  run: (context) => {
    const to = target(context);
    context.cold(['dd', '--version']);
    const [append = NaN] = context.client('/', 'append', `${to}-log`, '20000', '100');
    const dd = ['dd', 'if=/dev/zero', `of=${to}`, 'bs=4k', 'count=16384', 'status=none'];
    return { values: { append: append / MS, 'write.4k': once(context, '/', ...dd) } };
  },
};

/** 200 transactions of their own and one of 10,000 rows, in WAL mode, then questions. */
const SQL = `
pragma journal_mode = wal;
pragma synchronous = full;
create table t (id integer primary key, k text, v blob);
create index t_k on t (k);
${Array.from({ length: 200 }, (_, i) => `insert into t (k, v) values ('one-${i}', zeroblob(300));`).join('\n')}
with recursive n (i) as (select 1 union all select i + 1 from n where i < 10000)
insert into t (k, v) select 'many-' || (i * 7919 % 10007), zeroblob(300) from n;
select count(*) from t where k > 'many-5';
update t set v = zeroblob(200) where id % 3 = 0;
pragma wal_checkpoint(truncate);
select sum(length(v)) from t;
`;

const sqlite: Trial = {
  name: 'sqlite',
  group: 'Data',
  rows: [
    { id: 'sqlite', title: 'SQLite: 200 small transactions, one large, a checkpoint', unit: 'ms' },
  ],
  programs: ['sqlite3'],
  run: (context) => {
    const script = join(context.directory, 'work.sql');
    writeFileSync(script, SQL);
    const to = target(context);
    context.cold(['sqlite3', ':memory:', `.read ${script}`]);
    return { values: { sqlite: once(context, '/', 'sqlite3', `${to}.db`, `.read ${script}`) } };
  },
};

/** The whole file comes up with its first byte; who syncs the copy (we, the kernel) waits for it. */
const copyUp: Trial = {
  name: 'copy-up',
  group: 'Data',
  large: true,
  parts: ['huge'],
  rows: [{ id: 'copyup', title: 'first change of one byte in 1 GiB', unit: 'ms' }],
  refuses: (driver) => (driver.command ? undefined : 'a plain directory copies nothing up'),
  run: (context) => {
    const file = join(context.tree('huge'), 'huge/data');
    context.cold(['stat', file]);
    context.memory();
    const [ns = NaN] = context.client('/', 'poke', file, '500000');
    return { values: { copyup: ns / MS } };
  },
};

function clientsAtOnce(context: Context, clients: number): Record<string, number> {
  const root = context.tree();
  const { smallFiles, counts } = context.fixture;
  const passes = context.quick ? 1 : 4;
  const files = context.quick ? 50 : 2000 / clients;
  const at = ['clients', String(clients)];
  context.client(root, 'open', smallFiles, '1');
  const [read = NaN] = context.client(root, ...at, 'read', smallFiles, String(passes));
  context.cold();
  const [create = NaN] = context.client('/', ...at, 'create', target(context), String(files));
  return {
    [`clients-${clients}.read`]: read / 1e3 / (clients * passes * counts.small),
    [`clients-${clients}.create`]: create / 1e3 / (clients * files),
  };
}

function clientTrial(clients: number): Trial {
  const id = `clients-${clients}`;
  return {
    name: id,
    group: 'Data',
    rows: [
      { id: `${id}.read`, title: `${clients} clients: stat, open+read+close (each)`, unit: 'µs' },
      {
        id: `${id}.create`,
        title: `${clients} clients: write and remove a file (each)`,
        unit: 'µs',
      },
    ],
    run: (context) => ({ values: clientsAtOnce(context, clients) }),
  };
}

export const dataTrials: readonly Trial[] = [
  sequentialWrite,
  smallWrites,
  sqlite,
  copyUp,
  clientTrial(4),
  clientTrial(16),
];
