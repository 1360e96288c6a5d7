import { describe, expect, it } from 'vitest';
import { parseCommand } from '../../../src/options/commandLine.js';

const mount = { kind: 'mount', foreground: false, debug: false };
const H = '/var/lib/containers/storage/overlay';

describe('a mount comes as', () => {
  it('ours, with options before or after the mount point', () => {
    const expected = { ...mount, options: ['lowerdir=a'], mountpoint: 'm' };
    expect(parseCommand(['-o', 'lowerdir=a', 'm'])).toEqual(expected);
    expect(parseCommand(['m', '-o', 'lowerdir=a'])).toEqual(expected);
    expect(parseCommand(['-olowerdir=a', 'm'])).toEqual(expected);
  });

  it("containers/storage's: three arguments", () => {
    const list = `lowerdir=${H}/l/A:${H}/l/B,upperdir=${H}/1/diff,workdir=${H}/1/work,,volatile`;
    expect(parseCommand(['-o', list, `${H}/1/merged`])).toEqual({
      ...mount,
      options: [list],
      mountpoint: `${H}/1/merged`,
    });
  });

  it("mount.fuse3's: a source first", () => {
    const list = 'workdir=/w,upperdir=/u,lowerdir=/a:/b,ro,dev,suid';
    expect(parseCommand(['overlay', '/t', '-o', list])).toEqual({
      ...mount,
      options: [list],
      mountpoint: '/t',
    });
  });

  it("mount(8)'s helper call: repeated -o, a type and flags of no meaning here", () => {
    const argv = ['stratafs', '/t', '-sv', '-n', '-o', 'rw', '-o', 'lowerdir=/a'];
    expect(parseCommand([...argv, '-t', 'fuse.stratafs'])).toEqual({
      ...mount,
      options: ['rw', 'lowerdir=/a'],
      mountpoint: '/t',
    });
  });

  it('a mount even when its source is called like a subcommand', () => {
    expect(parseCommand(['diff', '/t', '-o', 'lowerdir=/a'])).toMatchObject({ mountpoint: '/t' });
    expect(parseCommand(['bench', '/t', '-o', 'lowerdir=/a'])).toMatchObject({ mountpoint: '/t' });
  });

  it('one in the foreground; --debug implies it', () => {
    const argv = ['-o', 'lowerdir=/a', '/t'];
    expect(parseCommand(['-f', ...argv])).toMatchObject({ foreground: true, debug: false });
    expect(parseCommand(['--debug', ...argv])).toMatchObject({ foreground: true, debug: true });
  });
});

describe('the other commands', () => {
  it('are told by their first word', () => {
    expect(parseCommand(['unmount', '-l', 'm'])).toEqual({
      kind: 'unmount',
      path: 'm',
      lazy: true,
    });
    expect(parseCommand(['bench', '--only', 'find', '--quick'])).toEqual({
      kind: 'bench',
      args: ['--only', 'find', '--quick'],
    });
    const plain = { kind: 'diff', path: 'm', json: false, stat: false, tar: false, zero: false };
    expect(parseCommand(['diff', 'm', '--json'])).toEqual({ ...plain, json: true });
    expect(parseCommand(['diff', '--upper', 'u', '--lower', 'a:b', '-z'])).toEqual({
      ...{ ...plain, path: '', zero: true },
      ...{ upper: 'u', lower: 'a:b' },
    });
    expect(parseCommand(['mounts'])).toEqual({ kind: 'mounts', json: false });
    expect(parseCommand(['stats', 'm'])).toEqual({ kind: 'stats', path: 'm', json: false });
    expect(parseCommand(['--help'])).toEqual({ kind: 'help' });
    expect(parseCommand(['-V'])).toEqual({ kind: 'version' });
  });
});

describe('one sentence for', () => {
  const cases: readonly (readonly [title: string, argv: string[], message: string])[] = [
    ['no mount point', ['-o', 'lowerdir=a'], 'no mount point'],
    ['three positionals', ['-o', 'lowerdir=a', 'a', 'b', 'c'], "'c' is one more"],
    ['an unknown flag', ['--bogus'], "unknown option '--bogus'"],
    ['diff of two paths', ['diff', 'a', 'b'], 'diff takes one path'],
  ];
  it.each(cases)('%s', (_, argv, message) => {
    expect(() => parseCommand(argv)).toThrow(message);
  });
});
