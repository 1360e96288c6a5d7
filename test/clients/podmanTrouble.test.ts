/** What goes wrong around podman: nothing is lost, the error says what it was, and the next run works. */
import { mkdtemp, rename } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { expectNothingLeft } from './support/leftovers.js';
import { busyboxRoot } from './support/podman.js';
import { type Place, placeIn } from './support/podmanUser.js';
import { MOUNTS, unmountBelow } from './support/union.js';

const PROGRAMS = ['podman', 'buildah', 'runc', 'busybox', 'setpriv', 'unshare', 'newuidmap'];

describe.skipIf(!has({ ...MOUNTS, namespaces: true, programs: PROGRAMS }))(
  'podman in trouble',
  () => {
    let place: Place;
    const ok = async (text: string): Promise<string> => {
      const { code, stdout, stderr } = await place.script('root', text);
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
      return stdout.trim();
    };

    beforeAll(async () => {
      place = await placeIn(await mkdtemp('/var/tmp/stratafs-clients-'));
      await rename(await busyboxRoot(place.dir), `${place.dir}/image.tar`);
      await ok('P import -q --change CMD=/bin/sh $DIR/image.tar localhost/small:1');
    });

    afterAll(async () => {
      const { dir } = place;
      try {
        await place.script('root', 'P rm -fa -t 0');
      } finally {
        await place.script('user', 'P unshare true');
        await place.remove();
        await expectNothingLeft(dir);
        await unmountBelow(dir);
      }
    });

    it('a full disk fails the write, with its name, and what was written before stays', async () => {
      const told = await ok(
        `mkdir $DIR/full; mount -t tmpfs -o size=24m x $DIR/full; STORE=$DIR/full/st
P import -q $DIR/image.tar localhost/small:1 >/dev/null
P run --name filler localhost/small:1 sh -c 'echo kept > /kept; dd if=/dev/zero of=/big bs=1M count=100 2>&1' | grep -o 'No space left on device' || true
P commit -q filler localhost/big:1 2>&1 | grep -io 'no space left on device' | head -n 1 || true
P cp filler:/kept - | tar -xOf -
m=$(P mount filler); rm $m/big; P umount filler >/dev/null
P rm -f -t 0 filler >/dev/null; P run --rm localhost/small:1 cat /etc/opt/f1; P rmi -fa >/dev/null; umount $DIR/full/st/overlay 2>/dev/null || true
umount $DIR/full`,
      );
      expect(told).toBe('No space left on device\nno space left on device\nkept\n1');
    });

    it('an engine that is killed while it mounts loses nothing, and the next one works', async () => {
      const told = await ok(
        `P run --name before localhost/small:1 sh -c 'echo kept > /kept'
printf '#!/bin/sh\\nkill -9 $PPID\\nexec %s "$@"\\n' "$S" > $DIR/killer; chmod +x $DIR/killer
for n in 1 2 3; do S=$DIR/killer P run --rm localhost/small:1 true >/dev/null 2>&1 || echo killed; done
P cp before:/kept - | tar -xOf -; P run --rm localhost/small:1 cat /etc/opt/f2; P rm -fa -t 0 >/dev/null 2>&1 || P rm -fa -t 0 >/dev/null
P ps -aq | wc -l; "$S" mounts | wc -l`,
      );
      expect(told).toBe('killed\nkilled\nkilled\nkept\n2\n0\n0');
    });

    it('engines that use one store at once do not disturb each other', async () => {
      const told = await ok(
        `for n in 1 2 3 4; do (P run --rm localhost/small:1 sh -c "echo $n > /etc/opt/f1; cat /etc/opt/f1" > $DIR/said-$n) & done
B from -q --name along localhost/small:1 >/dev/null; B run --isolation chroot along sh -c 'echo b > /etc/opt/f1'; wait
B commit -q along localhost/along:1 >/dev/null; B rm along >/dev/null
cat $DIR/said-*; P run --rm localhost/along:1 cat /etc/opt/f1; P run --rm localhost/small:1 cat /etc/opt/f1`,
      );
      expect(told).toBe('1\n2\n3\n4\nb\n1');
    });
  },
);
