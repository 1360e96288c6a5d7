import { describe, expect, it } from 'vitest';
import { parseFilters } from '../../../src/driver/filters.js';

/** What an object has, by the fields' names joined with dots. */
const object =
  (values: Readonly<Record<string, string>>) =>
  (path: readonly string[]): string | undefined =>
    values[path.join('.')];

const LAYER = object({
  name: 'sha256:aa',
  kind: 'committed',
  parent: '',
  'labels.containerd.io/snapshot.ref': 'sha256:aa',
  'labels.quote"d': 'a,b c',
  'labels.tab': 'a\tb',
  'labels.ü': 'é',
});

const matches = (...filters: readonly string[]): boolean => parseFilters(filters)(LAYER);

describe('filters of containerd', () => {
  it.each([
    ['kind==committed', true],
    ['kind==active', false],
    ['kind!=active', true],
    ['kind ==committed', true],
    ['name~=^sha256', true],
    ['name~=/^SHA256/', false],
    ['name~=(?i)^SHA', true],
    ['name~="a{2}$"', true],
    ['name~=|[a-b]+$|', true],
    ['name~="("', false],
    ['name==sha256:aa,kind==committed', true],
    ['name==sha256:aa,kind==view', false],
    ['parent==""', true],
    ['parent!=""', false],
    ['labels."containerd.io/snapshot.ref"==sha256:aa', true],
    ['labels."containerd.io/snapshot.ref"', true],
    ['labels.nothing', false],
    ['labels.nothing==x', false],
    ['labels.nothing!=x', true],
    ['labels."quote\\"d"=="a,b c"', true],
    ['labels.tab=="a\\tb"', true],
    ['labels.tab=="a\\x09b"', true],
    ['labels.tab=="a\\011b"', true],
    ['labels."\\u00fc"=="\\xc3\\xa9"', true],
    ['labels."\\U000000fc"==é', true],
    ['', true],
  ])('%s is %s', (filter, expected) => {
    expect(matches(filter)).toBe(expected);
  });

  it('takes an object that one of several filters matches, or all without one', () => {
    expect(matches('kind==view', 'name~=aa')).toBe(true);
    expect(matches('kind==view', 'name==x')).toBe(false);
    expect(matches()).toBe(true);
  });

  it.each([
    ['=='],
    ['kind='],
    ['kind==='],
    ['kind=~x'],
    ['kind=='],
    ['kind==a b'],
    ['kind==committed,'],
    ['.kind==x'],
    ['kind.==x'],
    ['labels."open==x'],
    ['labels."bad\\q"==x'],
    ['labels.|bar|==x'],
    ['kind==|x|'],
    ['kind==committed kind==view'],
  ])('refuses %s', (filter) => {
    expect(() => parseFilters([filter])).toThrow(/^filter '/);
  });
});
