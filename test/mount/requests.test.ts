/**
 * Warm reading is the kernel's business: nothing that has been looked at once may reach the engine
 * again. What counts is the loop's own counter (what `stratafs stats` shows).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { liveMounts, mountStats } from '../../src/client/ask.js';
import { type Mounted, mountStack, type Stack } from '../support/mount.js';
import { has } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
import { build, dir, type Entry, file, opaque, symlink, whiteout } from '../support/tree.js';

const DIRECTORIES = 10;
const FILES_EACH = 20;

/** Each directory is merged from both layers. */
function layer(content: string): Entry[] {
  const entries: Entry[] = [];
  for (let d = 0; d < DIRECTORIES; d++) {
    entries.push(dir(`d${d}`));
    for (let f = 0; f < FILES_EACH; f++) entries.push(file(`d${d}/${content}${f}`, content));
    entries.push(symlink(`d${d}/link-${content}`, `${content}0`));
  }
  return entries;
}

/** One file is behind a whiteout, and one stands in the opaque directory. */
const FILES = DIRECTORIES * FILES_EACH * 2;

type Counts = Readonly<Record<string, number>>;

async function counts({ path }: Mounted): Promise<Counts> {
  const served = (await liveMounts()).find(({ mountpoint }) => mountpoint === path);
  const stats = served && (await mountStats(served));
  if (!stats) throw new Error(`${path} is not served`);
  return stats.requests;
}

/** The requests that reached the engine while `work` ran in another process. */
async function during(mounted: Mounted, work: readonly string[]): Promise<Counts> {
  const before = await counts(mounted);
  const [program = '', ...args] = work;
  await mustRun(program, args, { cwd: mounted.path });
  const grown: Record<string, number> = {};
  for (const [opcode, count] of Object.entries(await counts(mounted))) {
    const more = count - (before[opcode] ?? 0);
    // find calls fstatfs(2) once, which no kernel answers from a cache.
    if (more !== 0 && opcode !== 'STATFS') grown[opcode] = more;
  }
  return grown;
}

/**
 * The kernel counts here whenever it gives up what it has cached, for want of memory or by
 * drop_caches. What DAMON takes away counts only when it is read again (a refault).
 */
const GIVEN_UP =
  /^(drop_|pgsteal_|pginodesteal|kswapd_inodesteal|slabs_scanned|workingset_refault_file)/;
const MOST_TRIES = 100;

function givenUp(): string {
  // Reading it brings /proc/vmstat up to date (Documentation/admin-guide/sysctl/vm.rst).
  readFileSync('/proc/sys/vm/stat_refresh');
  const lines = readFileSync('/proc/vmstat', 'latin1').split('\n');
  return lines.filter((line) => GIVEN_UP.test(line)).join(' ');
}

/** What `steps` tell, warming up included, of a time when the kernel gave nothing up: only then is the number exact. */
async function undisturbed<T>(steps: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const before = givenUp();
    const told = await steps();
    if (givenUp() === before) return told;
  }
  throw new Error(
    'the caches of this machine are given up all the time (/proc/vmstat): run it alone',
  );
}

const FIND = ['find', '.', '-ls'];
const STAT = ['find', '.', '-exec', 'stat', '{}', '+'];
/** cat opens, reads and closes each file. */
const OPEN_READ_CLOSE = ['find', '.', '-type', 'f', '-exec', 'cat', '{}', '+'];
const MISSING = ['sh', '-c', 'for d in d*; do [ ! -e $d/none ] && [ ! -e $d/nothing ]; done'];
const TAR = ['tar', '-cf', '/dev/zero', '.'];

const cases = [
  { name: 'a read-only mount', upper: false, options: [], silentAfterClose: true },
  { name: 'writeback=0', upper: true, options: ['writeback=0'], silentAfterClose: true },
  // Each close drops the cached block count then (end of fuse_flush), so the next stat asks.
  { name: 'writeback=1', upper: true, options: ['writeback=1'], silentAfterClose: false },
];

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('requests', () => {
  const root = scratch('requests');
  const lowers = [join(root, 'top'), join(root, 'base')];

  beforeAll(async () => {
    for (const lower of lowers) mkdirSync(lower);
    await build(join(root, 'base'), [...layer('base'), dir('o'), file('o/hidden', 'x')]);
    await build(join(root, 'top'), [
      ...layer('top'),
      whiteout('d0/base1'),
      opaque('o'),
      file('o/shown', 'y'),
    ]);
  });

  afterAll(() => rmSync(root, { recursive: true, force: true }));

  describe.each(cases)('on $name', ({ name, upper, options, silentAfterClose }) => {
    let mounted: Mounted;

    beforeAll(async () => {
      const place = join(root, name.replaceAll(/\W/g, '_'));
      const [mountpoint, upperdir, work] = ['mnt', 'upper', 'work'].map((part) => {
        mkdirSync(join(place, part), { recursive: true });
        return join(place, part);
      }) as [string, string, string];
      const stack: Stack = upper ? { lowers, upper: upperdir, work } : { lowers };
      mounted = await mountStack('stratafs', stack, mountpoint, options);
    });

    afterAll(async () => {
      await mounted.unmount();
    });

    test('the first walk and the first reading do reach the engine, so counting works', async () => {
      const walked = await during(mounted, FIND);
      const asked = (walked['READDIRPLUS'] ?? 0) + (walked['LOOKUP'] ?? 0);
      expect(asked).toBeGreaterThanOrEqual(DIRECTORIES);
      const read = await during(mounted, OPEN_READ_CLOSE);
      expect(read['READ'] ?? 0).toBeGreaterThanOrEqual(FILES / 2);
      await during(mounted, MISSING);
    });

    /** What each of `works` asked, after all of `warm` were done. */
    const asked = (warm: readonly (readonly string[])[], ...works: (readonly string[])[]) =>
      undisturbed(async () => {
        for (const work of warm) await during(mounted, work);
        const told: Counts[] = [];
        for (const work of works) told.push(await during(mounted, work));
        return told;
      });

    test('a warm find -ls and a warm stat reach the engine with nothing', async () => {
      expect(await asked([FIND, STAT], FIND, STAT)).toEqual([{}, {}]);
    });

    test('missing names that were asked for once reach the engine with nothing', async () => {
      expect(await asked([MISSING], MISSING)).toEqual([{}]);
    });

    test('a warm open+read+close reaches the engine with nothing', async () => {
      expect(await asked([OPEN_READ_CLOSE, FIND], OPEN_READ_CLOSE)).toEqual([{}]);
    });

    test('a stat after a close asks for attributes only with the writeback cache', async () => {
      // The first read of a file's pages drops its cached atime: both of these are to warm up.
      const warm = [OPEN_READ_CLOSE, STAT, OPEN_READ_CLOSE];
      if (silentAfterClose) {
        expect(await asked(warm, STAT, TAR)).toEqual([{}, {}]);
        return;
      }
      // stat(1) asks for the birth time too, hence STATX. Once for each close: the next is silent again.
      const told = await asked(warm, STAT, STAT);
      const { GETATTR = 0, STATX = 0, ...others } = told[0];
      expect([others, GETATTR + STATX, told[1]]).toEqual([{}, FILES, {}]);
    });
  });
});
