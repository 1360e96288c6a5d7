import { describe, expect, it } from 'vitest';
import { parseMount } from '../../../src/options/commandLine.js';

const mount = { foreground: false, debug: false };
const H = '/var/lib/containers/storage/overlay';

describe('a mount comes as', () => {
  it('ours, with options before or after the mount point', () => {
    const expected = { ...mount, options: ['lowerdir=a'], mountpoint: 'm' };
    expect(parseMount(['-o', 'lowerdir=a', 'm'])).toEqual(expected);
    expect(parseMount(['m', '-o', 'lowerdir=a'])).toEqual(expected);
    expect(parseMount(['-olowerdir=a', 'm'])).toEqual(expected);
  });

  it("containers/storage's: three arguments", () => {
    const list = `lowerdir=${H}/l/A:${H}/l/B,upperdir=${H}/1/diff,workdir=${H}/1/work,,volatile`;
    expect(parseMount(['-o', list, `${H}/1/merged`])).toEqual({
      ...mount,
      options: [list],
      mountpoint: `${H}/1/merged`,
    });
  });

  it("mount.fuse3's: a source first", () => {
    const list = 'workdir=/w,upperdir=/u,lowerdir=/a:/b,ro,dev,suid';
    expect(parseMount(['overlay', '/t', '-o', list])).toEqual({
      ...mount,
      options: [list],
      mountpoint: '/t',
    });
  });

  it("mount(8)'s helper call: repeated -o, a type and flags of no meaning here", () => {
    const argv = ['stratafs', '/t', '-sv', '-n', '-o', 'rw', '-o', 'lowerdir=/a'];
    expect(parseMount([...argv, '-t', 'fuse.stratafs'])).toEqual({
      ...mount,
      options: ['rw', 'lowerdir=/a'],
      mountpoint: '/t',
    });
  });

  it('a mount even when its source is called like a subcommand', () => {
    expect(parseMount(['diff', '/t', '-o', 'lowerdir=/a'])).toMatchObject({ mountpoint: '/t' });
    expect(parseMount(['bench', '/t', '-o', 'lowerdir=/a'])).toMatchObject({ mountpoint: '/t' });
  });

  it('the word mount, a source and a mount point', () => {
    const argv = ['mount', 'overlay', '/t', '-o', 'lowerdir=/a'];
    expect(parseMount(argv)).toMatchObject({ mountpoint: '/t', options: ['lowerdir=/a'] });
  });

  it('one in the foreground; --debug implies it', () => {
    const argv = ['-o', 'lowerdir=/a', '/t'];
    expect(parseMount(['-f', ...argv])).toMatchObject({ foreground: true, debug: false });
    expect(parseMount(['--debug', ...argv])).toMatchObject({ foreground: true, debug: true });
  });
});

describe('one sentence for', () => {
  const cases: readonly (readonly [title: string, argv: string[], message: string])[] = [
    ['no mount point', ['-o', 'lowerdir=a'], 'no mount point'],
    ['three positionals', ['-o', 'lowerdir=a', 'a', 'b', 'c'], "'c' is one more"],
    ['an unknown flag', ['--bogus'], "unknown option '--bogus'"],
  ];
  it.each(cases)('%s', (_, argv, message) => {
    expect(() => parseMount(argv)).toThrow(message);
  });
});
