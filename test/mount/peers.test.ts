/** Who connects to a host's socket: those who say nothing, and those of a kernel without process descriptors. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';

/** Connects, says `text` without an end of line, and tells when the host hangs up; holds on to it. */
const SILENT = `const [socket, text] = process.argv.slice(1);
const c = require("net").connect({ path: socket, allowHalfOpen: true });
c.on("error", () => undefined); c.resume();
c.on("connect", () => { c.write(text); console.log("connected"); });
c.on("end", () => { console.log("closed"); process.exit(0); });`;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, programs: ['gcc'] }))(
  'a peer of the host',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('peers');
      makeDirectories(base);
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    it('that says nothing, or no whole line, is hung up on, and holds nobody up', async () => {
      const output = await hostScript(
        base,
        `"$S" -o lowerdir=low m1; p=$(host); s=$(ls /run/stratafs/host-0-*-$(stat -Lc %i /proc/self/ns/mnt)-*.sock)
        timeout 60 node -e "$Q" $s '' > a & timeout 60 node -e "$Q" $s '{"query":' > b & 
        for i in $(seq 40); do timeout 60 node -e "$Q" $s x > /dev/null & [ $((i % 8)) = 0 ] && sleep 0.2; done
        until_ 'grep -q connected a && grep -q connected b'
        "$S" -o lowerdir=low m2; cat m1/hello m2/hello; "$S" unmount m1; "$S" unmount m2
        wait; cat a b; gone $p && echo ended`,
        { Q: SILENT },
      );
      expect(output).toBe('hello\nhello\nconnected\nclosed\nconnected\nclosed\nended\n');
    });

    it('is told apart without process descriptors, too', async () => {
      const old = join(base, 'oldKernel');
      await mustRun('gcc', ['-o', old, join(import.meta.dirname, '../support/oldKernel.c')]);
      const output = await hostScript(
        base,
        `$OLD "$S" -o lowerdir=low m1; $OLD "$S" -o lowerdir=low m2; cat m1/hello m2/hello
        [ $(of m1) = $(of m2) ] && echo together
        $OLD setpriv --groups 7 "$S" -o lowerdir=low m3; [ $(of m3) != $(of m1) ] && echo apart
        s=$(ls -t /run/stratafs/host-0-*-$(stat -Lc %i /proc/self/ns/mnt)-*.sock | tail -1)
        b=$("$S" mounts --json | sed -n 's/.*"build": "\\(.*\\)".*/\\1/p' | head -1)
        setpriv --groups 9 node -e "$ASK" $s $b $PWD
        for m in m1 m2 m3; do "$S" unmount $m; done`,
        {
          OLD: old,
          ASK: `const [socket, build, at] = process.argv.slice(1); const c = require("net").connect(socket);
            c.write(JSON.stringify({ argv: ["-o", "lowerdir=" + at + "/low", at + "/m4"], cwd: "/", build }) + "\\n");
            c.setEncoding("utf8"); let text = ""; c.on("data", (t) => (text += t));
            c.on("close", () => { const { code, other } = JSON.parse(text); console.log(code, /^it differs in: .*groups/.test(other)); });`,
        },
      );
      expect(output).toBe('hello\nhello\ntogether\napart\n1 true\n');
    });
  },
);
