import { mkdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { bash, run } from './support/run.js';
import { MOUNTS, withScratch, withUnion } from './support/union.js';

const ROWS = 20_000;
const WRITES = 150;

/** A database of about 3 MB in WAL mode; it is checkpointed and closed, so one file. */
const SEED = `
PRAGMA journal_mode = WAL;
CREATE TABLE t(id INTEGER PRIMARY KEY, who TEXT, body BLOB);
CREATE INDEX by_who ON t(who, id);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
INSERT INTO t SELECT i, 'seed', randomblob(100) FROM n;`;

/** Every transaction adds one row and changes old pages all over the file. */
function writer(who: string): string {
  const one = `BEGIN IMMEDIATE;
INSERT INTO t(who, body) VALUES ('${who}', randomblob(200));
UPDATE t SET body = randomblob(100) WHERE id IN (SELECT abs(random()) % ${ROWS} + 1 FROM t LIMIT 5);
COMMIT;\n`;
  return `.timeout 30000\nPRAGMA synchronous = NORMAL;\n${one.repeat(WRITES)}`;
}

async function sqlite(db: string, sql: string): Promise<string> {
  return (await run('sqlite3', ['-bail', db], { input: sql, timeout: 120_000 })).stdout.trim();
}

describe.skipIf(!has({ ...MOUNTS, programs: ['sqlite3'] }))('SQLite on the mount', () => {
  it.each(['cached', 'passthrough'])(
    'keeps a WAL database of a lower layer whole while two processes write and one reads (data=%s)',
    async (data) => {
      await withScratch(async (dir) => {
        const lower = `${dir}/lower`;
        await mkdir(lower);
        await sqlite(`${lower}/db`, SEED);
        await withUnion(
          'stratafs',
          [lower],
          async ({ mountpoint }) => {
            const db = `${mountpoint}/db`;
            const reader = '.timeout 30000\n' + 'SELECT count(*) >= 20000 FROM t;\n'.repeat(100);
            const [, , seen] = await Promise.all([
              sqlite(db, writer('one')),
              sqlite(db, writer('two')),
              sqlite(db, reader),
            ]);
            expect(new Set(seen.split('\n'))).toEqual(new Set(['1']));
            const check = `PRAGMA integrity_check; SELECT who, count(*) FROM t GROUP BY who;`;
            const expected = `ok\none|${WRITES}\nseed|${ROWS}\ntwo|${WRITES}`;
            expect(await sqlite(db, check)).toBe(expected);
            expect(await sqlite(db, `VACUUM; ${check}`)).toBe(expected);
          },
          `,data=${data}`,
        );
      });
    },
  );

  it('shows a process that opened the database before its copy-up what others write after it', async () => {
    await withScratch(async (dir) => {
      const lower = `${dir}/lower`;
      await mkdir(lower);
      await sqlite(`${lower}/db`, 'CREATE TABLE t(x); INSERT INTO t VALUES (1);');
      await withUnion('stratafs', [lower], async ({ mountpoint }) => {
        // The reader holds its connection open over the writer's transaction (rollback journal).
        const script = `
coproc reader { sqlite3 db; }
ask() { echo 'SELECT sum(x) FROM t;' >&\${reader[1]}; read -r -t 20 sum <&\${reader[0]}; echo "$sum"; }
ask; sqlite3 db 'INSERT INTO t VALUES (41);'; ask
eval "exec \${reader[1]}>&-"; wait $reader_PID`;
        const { stdout } = await bash(script, { cwd: mountpoint });
        expect(stdout).toBe('1\n42\n');
      });
    });
  });
});
