import { describe, expect, it } from 'vitest';
import { KeyWatch, parseKeys } from '../../../src/cli/containers/streams.js';
import { parseMount, parseTmpfs, parseVolume } from '../../../src/cli/containers/mountFlags.js';
import { exposed, portBindings } from '../../../src/cli/containers/ports.js';
import {
  parseBytes,
  parseCpus,
  parseDevice,
  parseEnvironment,
  parseHost,
  parseNetwork,
  parseRestart,
  parseUlimit,
} from '../../../src/cli/containers/values.js';
import { capabilitiesOf } from '../../../src/store/containers/capabilities.js';
import { resolveProfile } from '../../../src/store/containers/seccomp.js';
import { signalNumber } from '../../../src/store/containers/signals.js';

describe('values of the flags of containers', () => {
  it('sizes, CPUs, signals', () => {
    expect(['512m', '2g', '1.5k', '7', '1KiB'].map((text) => parseBytes(text, 'memory'))).toEqual([
      512 * 2 ** 20,
      2 * 2 ** 30,
      1536,
      7,
      1024,
    ]);
    expect(() => parseBytes('lots', 'memory')).toThrow(/--memory/);
    expect(parseCpus('1.5')).toBe(1.5e9);
    expect(['TERM', 'SIGKILL', '15', 'rtmin+3', 'SIGRTMAX'].map(signalNumber)).toEqual([
      15, 9, 15, 37, 64,
    ]);
    expect(() => signalNumber('NOPE')).toThrow(/invalid signal/);
    expect(() => signalNumber('0')).toThrow(/invalid signal/);
  });

  it('volumes and mounts', () => {
    expect(parseVolume('data:/d:ro,nocopy')).toMatchObject({
      type: 'volume',
      source: 'data',
      destination: '/d',
      readOnly: true,
      noCopy: true,
    });
    expect(parseVolume('/a/../b:/d:rshared')).toMatchObject({
      type: 'bind',
      source: '/b',
      propagation: 'rshared',
      create: true,
    });
    expect(parseVolume('/anon')).toMatchObject({
      type: 'volume',
      source: '',
      destination: '/anon',
    });
    for (const wrong of ['a:b', 'a:/b:what', ':/b', 'a::', 'a:/b:ro:more']) {
      expect(() => parseVolume(wrong), wrong).toThrow(/invalid volume/);
    }
    expect(parseMount('type=bind,"src=/a,b",dst=/c,readonly')).toMatchObject({
      type: 'bind',
      source: '/a,b',
      destination: '/c',
      readOnly: true,
      create: false,
    });
    expect(parseMount('type=tmpfs,target=/t,tmpfs-size=1m').mode).toBe('size=1m');
    expect(() => parseMount('type=bind,source=/a')).toThrow(/target/);
    expect(() => parseMount('type=volume,target=/a,what=1')).toThrow(/what/);
    expect(parseTmpfs('/t:size=1m,ro')).toMatchObject({ mode: 'size=1m', readOnly: true });
  });

  it('ports', async () => {
    expect(exposed(['80', '90-91/udp'])).toEqual({ '80/tcp': {}, '90/udp': {}, '91/udp': {} });
    expect(await portBindings(['127.0.0.1:81:80', '53:53/udp', '[::1]:82:82'], [])).toEqual({
      '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '81' }],
      '53/udp': [{ HostIp: '', HostPort: '53' }],
      '82/tcp': [{ HostIp: '::1', HostPort: '82' }],
    });
    const free = await portBindings(['80'], ['81/tcp']);
    expect(Number(free['80/tcp'][0].HostPort)).toBeGreaterThan(0);
    expect(free['81/tcp'].length).toBe(1);
    for (const wrong of ['0', '70000', '80-81:80-82', 'x:80', '80/what']) {
      await expect(portBindings([wrong], []), wrong).rejects.toThrow(/port/);
    }
  });

  it('everything else', () => {
    expect(parseEnvironment([], ['A=1', 'B', 'C'], { B: '2' })).toEqual(['A=1', 'B=2', 'C']);
    expect(parseRestart('on-failure:3')).toEqual({ Name: 'on-failure', MaximumRetryCount: 3 });
    expect(() => parseRestart('always:3')).toThrow(/only on-failure/);
    expect(parseUlimit('nofile=10:20')).toEqual({ Name: 'nofile', Soft: 10, Hard: 20 });
    expect(() => parseUlimit('nofile=30:20')).toThrow(/above/);
    expect(parseDevice('/dev/null:/dev/x:r')).toEqual({
      PathOnHost: '/dev/null',
      PathInContainer: '/dev/x',
      CgroupPermissions: 'r',
    });
    expect(parseDevice('/dev/null:rw').PathInContainer).toBe('/dev/null');
    expect(['bridge', undefined, 'none'].map(parseNetwork)).toEqual(['private', 'private', 'none']);
    expect(() => parseNetwork('mine')).toThrow(/no network mine/);
    expect(parseHost('db:host-gateway')).toBe('db:host-gateway');
    expect(() => parseHost('db')).toThrow(/--add-host/);
  });

  it('keys that leave a container', () => {
    const watch = new KeyWatch(parseKeys('ctrl-p,ctrl-q'));
    const pass = (text: string) => {
      const passed = watch.pass(Buffer.from(text));
      return passed && Buffer.from(passed).toString();
    };
    expect(pass('ab')).toBe('ab');
    expect(pass('a\u0010')).toBe('a');
    expect(pass('b')).toBe('\u0010b');
    expect(pass('\u0010\u0010')).toBe('\u0010');
    expect(pass('\u0011')).toBeUndefined();
    expect(() => parseKeys('ctrl-1')).toThrow(/detach keys/);
  });
});

describe('rights of a container', () => {
  const all = '1ffffffffff';
  const of = (add: string[], drop: string[], bounding = all) =>
    capabilitiesOf({ add, drop, privileged: false, bounding });

  it('adds and drops capabilities as Docker does', () => {
    expect(of([], []).length).toBe(14);
    expect(of([], ['all'])).toEqual([]);
    expect(of(['net_admin'], ['ALL'])).toEqual(['CAP_NET_ADMIN']);
    expect(of(['ALL'], ['SYS_ADMIN'])).toHaveLength(40);
    expect(of(['ALL'], [], 'a80425fb').length).toBe(14);
    expect(() => of(['SYS_ADMIN'], [], 'a80425fb')).toThrow(/has not got it/);
    expect(() => of(['NOPE'], [])).toThrow(/unknown capability/);
  });

  it('decides the conditions of a seccomp profile', () => {
    const rule = (names: string[], more: object) => ({ names, action: 'SCMP_ACT_ALLOW', ...more });
    const profile = {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
      syscalls: [
        rule(['read'], {}),
        rule(['mount'], { includes: { caps: ['CAP_SYS_ADMIN'] } }),
        rule(['clone'], { excludes: { caps: ['CAP_SYS_ADMIN'] } }),
        rule(['old'], { includes: { minKernel: '99.0' } }),
        rule(['s390'], { includes: { arches: ['s390'] } }),
      ],
    };
    const names = (capabilities: string[]) =>
      (
        resolveProfile(profile, capabilities) as { syscalls: { names: string[] }[] }
      ).syscalls.flatMap((each) => each.names);
    expect(names([])).toEqual(['read', 'clone']);
    expect(names(['CAP_SYS_ADMIN'])).toEqual(['read', 'mount']);
  });
});
