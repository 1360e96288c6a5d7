/**
 * Calls that give blocks back, and statfs, wait in the pool: whoever does not ask for that file goes on, and
 * who needs the room gets it. Each call is held until the others have been served; time decides nothing.
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';

/** $G: the gate. `held CALL`: somebody waits in it. `others`: requests of a second client, on m1 and on m2. */
const GATE = `
hold() { rm -f $G/seen; : > $G/$1; }
held() { until_ "grep -q $1 $G/seen 2>/dev/null"; }
go() { rm -f $G/$1; }
others() { n=$((\${n:-0}+1)); for m in m1 m2; do stat $m/none$n 2>/dev/null; mkdir $m/d$n; echo new$n > $m/f$n; cat $m/f$n; done; }
big() { dd if=/dev/zero of=$1 bs=1M count=$2 status=none conv=fsync; }
room() { df -BM --output=avail $1 | tail -1 | tr -dc 0-9; }
over() { kill -0 $1 2>/dev/null && echo waits || echo over; }
finish_gate() { rm -f $G/*; finish; }
trap finish_gate EXIT
`;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, programs: ['gcc'], loop: true }))(
  'a slow call',
  () => {
    let base: string;
    let env: NodeJS.ProcessEnv;

    beforeAll(async () => {
      base = scratch('extents');
      makeDirectories(base);
      const gate = join(base, 'gate');
      mkdirSync(gate);
      const library = join(base, 'slowCalls.so');
      const source = join(import.meta.dirname, '../support/slowCalls.c');
      await mustRun('gcc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl']);
      const node = join(base, 'node');
      writeFileSync(node, `#!/bin/sh\nLD_PRELOAD=${library} exec ${process.execPath} "$@"\n`);
      chmodSync(node, 0o755);
      env = { STRATAFS_NODE: node, STRATAFS_GATE: gate, G: gate };
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (options: string, body: string): Promise<string> =>
      hostScript(
        base,
        `${GATE}
        rm -rf up work up2 work2; mkdir up work up2 work2
        "$S" -o lowerdir=low,upperdir=up,workdir=work${options} m1
        "$S" -o lowerdir=low,upperdir=up2,workdir=work2${options} m2
        ${body}
        "$S" unmount m1; "$S" unmount m2`,
        env,
      );

    it.each([
      ['', 'truncate -s 4096 m1/big', 'ftruncate', '4096'],
      [',writeback=0', 'truncate -s 4096 m1/big', 'ftruncate', '4096'],
      [',data=passthrough', 'truncate -s 0 m1/big', 'ftruncate', '0'],
      [',data=passthrough', 'sh -c ": > m1/big"', 'ftruncate', '0'],
      ['', 'fallocate -p -o 0 -l 1M m1/big', 'fallocate', '2097152'],
      ['', 'fallocate -o 2M -l 1M m1/big', 'fallocate', '3145728'],
      ['', 'stat -f m1', 'fstatfs', '2097152'],
    ])('lets others pass: %s %s', async (options, command, call, size) => {
      const output = await script(
        options,
        `big m1/big 2; hold ${call}; ${command} > /dev/null & p=$!; held ${call} && others; over $p
        go ${call}; wait $p; echo $?; stat -c %s m1/big`,
      );
      expect(output).toBe(`new1\nnew1\nwaits\n0\n${size}\n`);
    });

    it('is seen by whoever writes to the file after it, also when its caller was killed', async () => {
      const output = await script(
        '',
        `big m1/big 2; hold ftruncate; truncate -s 0 m1/big & p=$!; held ftruncate
        kill -KILL $p; disown $p; sh -c 'echo after >> m1/big' & q=$!; others; over $q
        go ftruncate; wait $q; cat m1/big up/big`,
      );
      expect(output).toBe('new1\nnew1\nwaits\nafter\nafter\n');
    });

    it('keeps the time of the file, and sets the one that was asked for', async () => {
      const output = await script(
        '',
        `big m1/big 2; touch -d @1000 m1/big; sync m1/big; python3 -c "
import os; f = os.open('m1/big', os.O_RDWR); os.ftruncate(f, 0); os.utime(f, (5, 2000)); os.close(f)"
        stat -c '%s %Y' m1/big; "$S" unmount m1; stat -c '%s %Y' up/big; "$S" -o lowerdir=low,upperdir=up,workdir=work m1`,
      );
      expect(output).toBe('0 2000\n0 2000\n');
    });

    it('gives the room of a removed file: statfs counts it, and a write waits for it', async () => {
      const output = await script(
        '',
        `truncate -s 64M disk.img; mkfs.ext4 -q -F -m 0 -O ^has_journal disk.img; mkdir -p disk; mount -o loop disk.img disk
        mkdir disk/up disk/work; "$S" -o lowerdir=low,upperdir=disk/up,workdir=disk/work m3
        big m3/big 40; hold close; rm m3/big; held close && others
        mkdir m3/d; [ $(room m3) -gt 50 ] && echo counted; [ $(room disk) -lt 30 ] && echo pending
        big m3/next 40 & p=$!; sleep 0.5; others; over $p; go close; wait $p; echo $?; stat -c %s disk/up/next
        rm m3/next; "$S" unmount m3; umount disk && echo free`,
      );
      expect(output.split('\n')).toEqual([
        'new1',
        'new1',
        'counted',
        'pending',
        'new2',
        'new2',
        'waits',
        '0',
        String(40 << 20),
        'free',
        '',
      ]);
    });
  },
);
