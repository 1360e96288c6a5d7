import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { mountTable, statDevice } from '../../../src/mount/mountTable.js';

const TEXT = `42 27 0:39 / /tmp/a\\040b\\012c rw,relatime shared:1 master:2 - fuse.stratafs stratafs rw
43 27 0:40 / /tmp/x rw - ext4 /dev/vda rw
`;

describe('the mount table', () => {
  it('reads device, mount point and type, whatever optional fields there are', () => {
    expect(mountTable(TEXT)).toEqual([
      { device: '0:39', mountpoint: '/tmp/a b\nc', type: 'fuse.stratafs', options: 'rw' },
      { device: '0:40', mountpoint: '/tmp/x', type: 'ext4', options: 'rw' },
    ]);
  });

  it('knows the st_dev of a device as stat reports it', () => {
    const row = mountTable().find(({ mountpoint }) => mountpoint === '/proc');
    expect(statDevice(row?.device ?? '')).toBe(String(statSync('/proc', { bigint: true }).dev));
    expect(statDevice('259:1048577')).toBe(String((259n << 8n) | (1048576n << 12n) | 1n));
  });
});
