/** File capabilities of a lower, copied up in a user namespace: only those that mean something there. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, clientBinary } from '../support/client.js';
import { DRIVER, makeFixture, MOUNT_NEEDS } from '../support/fixture.js';
import { type Driver, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { enterUserNamespace, outside, own } from '../support/place.js';
import { scratch } from '../support/run.js';

const KEY = 'security.capability';

/** vfs_cap_data: revision, CAP_NET_RAW permitted and effective, and for revision 3 whose root it is. */
function capability(revision: 2 | 3, root = 0): string {
  const value = Buffer.alloc(revision === 2 ? 20 : 24);
  value.writeUInt32LE((revision << 24) | 1, 0);
  value.writeUInt32LE(1 << 13, 4);
  if (revision === 3) value.writeUInt32LE(root, 20);
  return `0x${value.toString('hex')}`;
}

const NEEDS = {
  ...MOUNT_NEEDS,
  kernelOverlay: true,
  namespaces: true,
  programs: ['gcc', 'nsenter', 'setfattr'],
};

describe.skipIf(DRIVER !== 'stratafs' || !has(NEEDS))('in a user namespace', () => {
  let leave = (): void => undefined;
  let lower: string;
  beforeAll(async () => {
    leave = await enterUserNamespace(await clientBinary());
    lower = scratch('capabilities');
    await chmod(lower, 0o755);
    own(lower);
    const values: readonly (readonly [string, string])[] = [
      ['of-the-machine', capability(2)],
      ['of-its-root', capability(3, outside(0))],
      ['of-another-root', capability(3, outside(7))],
      ['of-a-stranger', capability(3, 77)],
    ];
    for (const [name, value] of values) {
      const path = join(lower, name);
      writeFileSync(path, name);
      own(path);
      // Not in the namespace, which could not write them.
      const set = spawnSync('setfattr', ['-n', KEY, '-v', value, path]);
      expect([name, set.status]).toEqual([name, 0]);
    }
  });
  afterAll(() => {
    leave();
  });

  const NAMES = ['of-the-machine', 'of-its-root', 'of-another-root', 'of-a-stranger'];

  async function ask(driver: Driver): Promise<string[]> {
    const { stack, mountpoint } = await makeFixture('capabilities', { lowers: [[]] });
    const see = async (client: Client, when: string): Promise<string[]> => {
      const answers: string[] = [];
      for (const name of NAMES) {
        const result = await client.call('getxattr', name, KEY);
        answers.push(`${when} ${name}: ${result.errno ?? result.words.join(' ')}`);
      }
      return answers;
    };
    return withMount(
      driver,
      { ...stack, lowers: [lower] },
      mountpoint,
      async (client) => {
        const before = await see(client, 'before');
        for (const name of NAMES)
          before.push(`chmod ${name}: ${await client.errno('chmod', name, 0o755)}`);
        return [...before, ...(await see(client, 'after'))];
      },
      driver === 'kernel' ? ['userxattr'] : [],
    );
  }

  test('a copy has those that can be read there, or is refused, as in kernel overlayfs', async () => {
    const kernel = await ask('kernel');
    expect(kernel).toContain('chmod of-its-root: ok');
    expect(kernel).toContain('chmod of-a-stranger: EOVERFLOW');
    expect(kernel.filter((line) => line.startsWith('after of-its-root: %'))).toHaveLength(1);
    expect(await ask('stratafs')).toEqual(kernel);
  });
});
