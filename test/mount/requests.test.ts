/**
 * Warm reading is the kernel's business: nothing that has been looked at once may reach the engine
 * again. What counts is the loop's own counter (`stratafs stats --json`).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Mounted, mountStack, type Stack } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
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

async function counts(mounted: Mounted): Promise<Counts> {
  const ran = await mustRun(stratafsBinary(), ['stats', mounted.path, '--json']);
  return (JSON.parse(ran.stdout) as { requests: Counts }).requests;
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

/**
 * The kernel may give up what it cached at any moment (memory, another program's drop_caches): zero
 * requests must be reached, but not at the first try.
 */
const TRIES = { retry: 3 };

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('requests', TRIES, () => {
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

    test('a warm find -ls and a warm stat reach the engine with nothing', async () => {
      await during(mounted, FIND);
      await during(mounted, STAT);
      expect(await during(mounted, FIND)).toEqual({});
      expect(await during(mounted, STAT)).toEqual({});
    });

    test('missing names that were asked for once reach the engine with nothing', async () => {
      await during(mounted, MISSING);
      expect(await during(mounted, MISSING)).toEqual({});
    });

    test('a warm open+read+close reaches the engine with nothing', async () => {
      await during(mounted, OPEN_READ_CLOSE);
      await during(mounted, FIND);
      expect(await during(mounted, OPEN_READ_CLOSE)).toEqual({});
    });

    test('a stat after a close asks for attributes only with the writeback cache', async () => {
      // The first read of a file's pages drops its cached atime: both of these are to warm up.
      await during(mounted, OPEN_READ_CLOSE);
      await during(mounted, STAT);
      await during(mounted, OPEN_READ_CLOSE);
      const after = await during(mounted, STAT);
      if (silentAfterClose) {
        expect(after).toEqual({});
        expect(await during(mounted, TAR)).toEqual({});
        return;
      }
      // stat(1) asks for the birth time too, hence STATX.
      const { GETATTR = 0, STATX = 0, ...others } = after;
      expect(others).toEqual({});
      // 403 for 400 files was seen once, not explained: directories are the guess.
      expect(GETATTR + STATX).toBeLessThanOrEqual(FILES + DIRECTORIES);
      // Once for each close: the next stat is silent again.
      expect(await during(mounted, STAT)).toEqual({});
    });
  });
});
