import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { deviceAt, mountTable, statDevice } from '../../../src/sys/mountTable.js';

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

  it('finds what is on top at a mount point', () => {
    const over = '44 42 0:41 / /tmp/a\\040b\\012c rw - fuse.stratafs /tmp/x rw\n';
    expect(deviceAt('/tmp/a b\nc', TEXT)).toBe('0:39');
    expect(deviceAt('/tmp/a b\nc', TEXT + over)).toBe('0:41');
    expect(deviceAt('/tmp/x', TEXT + over)).toBe('0:40');
    expect(deviceAt('/tmp', TEXT)).toBe(undefined);
    const odd = '45 42 0:42 / /\\134\\011\xff rw - ext4 x rw\n';
    expect(deviceAt('/\\\t\xff', odd)).toBe('0:42');
  });

  it('knows the st_dev of a device as stat reports it', () => {
    const row = mountTable().find(({ mountpoint }) => mountpoint === '/proc');
    expect(statDevice(row?.device ?? '')).toBe(String(statSync('/proc', { bigint: true }).dev));
    expect(statDevice('259:1048577')).toBe(String((259n << 8n) | (1048576n << 12n) | 1n));
  });
});
