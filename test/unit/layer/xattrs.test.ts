/** Which xattrs are the engine's own, and how a client's of the same form are stored. */
import { describe, expect, it } from 'vitest';
import { isPrivate, mustCopy, toClient, toDisk, TRUSTED, USER } from '../../../src/layer/xattrs.js';

const CLIENTS = [
  'user.a',
  'user.overlay',
  'user.overlayed',
  'user.overlay.opaque',
  'user.overlay.overlay.opaque',
  'user.overlay.foo',
  'user.overlay.',
  'user.overlay.overlay.',
  'user.overlay.overlay.foo',
  'user.overlay.overlay.overlay.foo',
  'trusted.overlay.opaque',
  'trusted.overlay.overlay.opaque',
  'trusted.overlay.overlay.overlay.x',
  'trusted.overlay.',
  'trusted.x',
  'security.capability',
  'system.posix_acl_access',
  'user.\xff\n',
];

describe('names of xattrs', () => {
  it.each(CLIENTS)('%j comes back to the client as it was given', (key) => {
    for (const marks of [TRUSTED, USER]) {
      expect(toClient(toDisk(key, marks), marks)).toBe(key);
      expect(isPrivate(toDisk(key, marks), marks)).toBe(false);
    }
  });

  it.each([
    ['trusted.overlay.opaque', 'trusted.overlay.overlay.opaque'],
    ['user.overlay.whiteout', 'user.overlay.overlay.whiteout'],
    ['trusted.overlay.overlay.origin', 'trusted.overlay.overlay.overlay.origin'],
    ['user.overlay.overlay.whiteout', 'user.overlay.overlay.overlay.whiteout'],
    ['user.overlay.foo', 'user.overlay.foo'],
    ['user.overlay.overlay.foo', 'user.overlay.overlay.foo'],
    ['trusted.overlay.foo', 'trusted.overlay.overlay.foo'],
    ['user.mine', 'user.mine'],
    ['trusted.overlayx', 'trusted.overlayx'],
  ])('%j is %j on disk', (client, disk) => {
    expect(toDisk(client, TRUSTED)).toBe(disk);
  });

  it.each(['opaque', 'origin', 'impure', 'whiteout', 'redirect', 'metacopy', 'nlink'])(
    'overlay.%s on disk is ours, in both namespaces',
    (name) => {
      for (const prefix of ['trusted.overlay.', 'user.overlay.']) {
        expect(toClient(prefix + name, TRUSTED)).toBeUndefined();
        expect(isPrivate(prefix + name, TRUSTED)).toBe(true);
      }
    },
  );

  it('overlay.x on disk is ours in the namespace of the marks alone', () => {
    expect(toClient('trusted.overlay.x', TRUSTED)).toBeUndefined();
    expect(toClient('user.overlay.x', TRUSTED)).toBe('user.overlay.x');
    expect(toClient('user.overlay.x', USER)).toBeUndefined();
  });

  it('in the trusted namespace are names like any with userxattr', () => {
    expect(toDisk('trusted.overlay.opaque', USER)).toBe('trusted.overlay.opaque');
    expect(toClient('trusted.overlay.opaque', USER)).toBe('trusted.overlay.opaque');
    expect(toDisk('user.overlay.opaque', USER)).toBe('user.overlay.overlay.opaque');
    expect(toClient('user.overlay.opaque', USER)).toBeUndefined();
  });

  it('can never be made ours by a client, whatever it asks for', () => {
    for (const key of [...CLIENTS, 'trusted.overlay.overlay.', 'user.overlay.overlay.']) {
      expect(isPrivate(toDisk(key, TRUSTED), TRUSTED)).toBe(false);
    }
  });
});

describe('copy-up', () => {
  it('must carry ACLs and security attributes, others where the upper can', () => {
    expect(mustCopy('system.posix_acl_access')).toBe(true);
    expect(mustCopy('system.posix_acl_default')).toBe(true);
    expect(mustCopy('security.capability')).toBe(true);
    expect(mustCopy('user.x')).toBe(false);
    expect(mustCopy('trusted.x')).toBe(false);
  });
});
