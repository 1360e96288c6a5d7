import { describe, expect, it } from 'vitest';
import { parseSize, unionOptions } from '../../../src/store/volumes/options.js';

describe('options of a union volume', () => {
  it('are lower and size', () => {
    expect(unionOptions({ lower: '/usr:/etc', size: '1g' })).toEqual({
      lower: ['/usr', '/etc'],
      size: 2 ** 30,
    });
    expect(unionOptions({ lower: '/usr' })).toEqual({ lower: ['/usr'] });
    expect(unionOptions({})).toBeUndefined();
    expect(unionOptions({ type: 'tmpfs' })).toBeUndefined();
  });

  it.each([
    [{ size: '1g' }, 'size= needs lower='],
    [{ lower: '' }, 'names no directory'],
    [{ lower: 'usr' }, 'must be an absolute path'],
    [{ lower: '/usr:/nothing/here' }, 'lower=/nothing/here is not a directory'],
    [{ lower: '/etc/passwd' }, 'is not a directory'],
    [{ lower: '/usr', o: 'x' }, 'o is no option'],
    [{ lower: '/usr', size: '1M' }, 'is too small'],
    [{ lower: '/usr', size: 'much' }, 'is no size'],
  ])('%j is refused: %s', (options, text) => {
    expect(() => unionOptions(options as Record<string, string>)).toThrow(text);
  });

  it('count in units of 1024', () => {
    expect(['16777216', '16384k', '16M', '16MiB', '1T'].map(parseSize)).toEqual([
      2 ** 24,
      2 ** 24,
      2 ** 24,
      2 ** 24,
      2 ** 40,
    ]);
  });
});
