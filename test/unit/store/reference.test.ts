import { describe, expect, test } from 'vitest';
import {
  canonical,
  familiar,
  parseReference,
  withDefaultTag,
} from '../../../src/store/images/reference.js';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('references', () => {
  // What github.com/distribution/reference gives for each (normalize_test.go and our own).
  test.each([
    ['debian', 'docker.io/library/debian', 'debian'],
    ['debian:12', 'docker.io/library/debian:12', 'debian:12'],
    ['library/debian', 'docker.io/library/debian', 'debian'],
    ['docker.io/library/debian', 'docker.io/library/debian', 'debian'],
    ['index.docker.io/debian', 'docker.io/library/debian', 'debian'],
    ['library/a/b', 'docker.io/library/a/b', 'library/a/b'],
    ['user/app', 'docker.io/user/app', 'user/app'],
    ['localhost/bb:1', 'localhost/bb:1', 'localhost/bb:1'],
    ['localhost:5000/bb', 'localhost:5000/bb', 'localhost:5000/bb'],
    ['FOO/bar', 'FOO/bar', 'FOO/bar'],
    ['[::1]:5000/a', '[::1]:5000/a', '[::1]:5000/a'],
    ['a__b-c---d.e/f', 'docker.io/a__b-c---d.e/f', 'a__b-c---d.e/f'],
    [`debian@${digest}`, `docker.io/library/debian@${digest}`, `debian@${digest}`],
    [`r.io/x:1@${digest}`, `r.io/x:1@${digest}`, `r.io/x:1@${digest}`],
    ['debian:5000', 'docker.io/library/debian:5000', 'debian:5000'],
  ])('%s', (text, full, short) => {
    if (text === 'a__b-c---d.e/f') {
      // A dot before the first slash makes it a host, which may not have underscores.
      expect(() => parseReference(text)).toThrow('invalid reference format');
      return;
    }
    expect(canonical(parseReference(text))).toBe(full);
    expect(familiar(parseReference(text))).toBe(short);
    expect(parseReference(canonical(parseReference(text)))).toEqual(parseReference(text));
  });

  test.each([
    '',
    ':tag',
    '/a',
    'a//b',
    'a/',
    '-a',
    'a-',
    'a___b',
    'a..b',
    'a:',
    'a:-x',
    `a:${'t'.repeat(129)}`,
    'a@sha256:12',
    'a b',
    'a\n',
    '../a',
    'a/../b',
    'a@md5:0123456789abcdef0123456789abcdef',
    `a@sha512:${'0'.repeat(128)}`,
    'x'.repeat(300),
    'http://host/a',
  ])('%j is refused', (text) => {
    expect(() => parseReference(text)).toThrow(/invalid|unsupported|more than/);
  });

  test('Docker’s sentences', () => {
    expect(() => parseReference('Debian')).toThrow(
      'repository name (library/Debian) must be lowercase',
    );
    expect(() => parseReference('a'.repeat(64))).toThrow(
      'cannot specify 64-byte hexadecimal strings',
    );
  });

  test('the tag is latest unless there is one or a digest', () => {
    expect(withDefaultTag(parseReference('a')).tag).toBe('latest');
    expect(withDefaultTag(parseReference('a:1')).tag).toBe('1');
    expect(withDefaultTag(parseReference(`a@${digest}`)).tag).toBeUndefined();
  });
});
