/** What reaches mount(2) and fusermount3. */
import { describe, expect, it } from 'vitest';
import { makeMount } from '../../../src/host/device.js';
import { type MountPlan, planMount } from '../../../src/options/plan.js';
import type { Native } from '../../../src/sys/native.js';

const DEVICE = 7;
const PROGRAM = 8;
const MOUNT = 9;
const EPERM = -1;

/** An addon that notes the calls; mount(2) answers `result`. */
function recorder(result: number): { native: Native; calls: unknown[][] } {
  const calls: unknown[][] = [];
  const note =
    <T>(name: string, answer: T) =>
    (...args: unknown[]): Promise<T> => {
      calls.push([name, ...args]);
      return Promise.resolve(answer);
    };
  const native = {
    memory: new ArrayBuffer(0x100),
    openat2: () => DEVICE,
    close: () => 0,
    createMount: (...args: unknown[]): number => {
      calls.push(['createMount', ...args]);
      return result < 0 ? result : MOUNT;
    },
    mountPath: note('mount', result),
    programMount: note('fusermount', [PROGRAM, '']),
  };
  return { native: native as unknown as Native, calls };
}

const plan = (list: string, privileged: boolean): MountPlan =>
  planMount([list], { cwd: '/', mountpoint: '/mnt', privileged });

describe('SELinux labels', () => {
  const list = 'lowerdir=/a,context="system_u:object_r:container_file_t:s0:c1,c2",rootcontext=x';
  const labels = 'context="system_u:object_r:container_file_t:s0:c1,c2",rootcontext=x';

  it('stand as given, quotes and commas too, at the end of the data of mount(2)', async () => {
    const { native, calls } = recorder(0);
    const made = await makeMount(native, plan(list, true), '/mnt');
    expect(made).toEqual({ fd: DEVICE, mountFd: -1 });
    expect(calls).toHaveLength(1);
    const [name, , target, type, , data] = calls[0] ?? [];
    expect([name, target, type]).toEqual(['mount', '/mnt', 'fuse.stratafs']);
    expect(data).toMatch(
      /^fd=7,rootmode=40000,user_id=\d+,group_id=\d+,default_permissions,allow_other,/,
    );
    expect(String(data).endsWith(`,${labels}`)).toBe(true);
  });

  it('reach fusermount3 where mount(2) is not permitted', async () => {
    const { native, calls } = recorder(EPERM);
    const made = await makeMount(native, plan(list, false), '/mnt');
    expect(made).toEqual({ fd: PROGRAM, mountFd: -1 });
    const [name, target, options] = calls[1] ?? [];
    expect([name, target]).toEqual(['fusermount', '/mnt']);
    expect(options).toBe(
      `ro,nosuid,nodev,fsname=stratafs,subtype=stratafs,default_permissions,${labels}`,
    );
  });

  it('are absent when none are given', async () => {
    const { native, calls } = recorder(0);
    const made = await makeMount(native, plan('lowerdir=/a', true), '/mnt');
    expect(made).toEqual({ fd: DEVICE, mountFd: MOUNT });
    expect(String(calls[0])).not.toContain('context');
  });
});
