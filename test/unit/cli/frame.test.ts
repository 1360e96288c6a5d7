import { describe, expect, test } from 'vitest';
import { parseFilters, parseUntil } from '../../../src/cli/frame/filters.js';
import { FlagError, parseFlags } from '../../../src/cli/frame/flags.js';
import { ago, humanDuration, humanSize } from '../../../src/cli/frame/human.js';
import { inspectText, listText } from '../../../src/cli/frame/table.js';
import { compileTemplate } from '../../../src/cli/frame/template.js';

const apply = (template: string, value: unknown): string => compileTemplate(template)(value);

describe('flags, as pflag takes them', () => {
  const flags = {
    all: { kind: 'bool', short: 'a', help: '' },
    quiet: { kind: 'bool', short: 'q', help: '' },
    name: { kind: 'string', short: 'n', help: '' },
    env: { kind: 'list', short: 'e', help: '' },
    count: { kind: 'int', help: '' },
    pretty: { kind: 'bool', on: true, help: '' },
    out: { kind: 'path', short: 'o', help: '' },
  } as const;
  const parse = (...argv: string[]) => parseFlags(flags, argv);

  test('every form', () => {
    expect(parse('-aq', '-nx', 'A', '--name=y', '-e', '1', '--env=2', '-e=3').values).toMatchObject(
      {
        all: true,
        quiet: true,
        name: 'y',
        env: ['1', '2', '3'],
        pretty: true,
      },
    );
    expect(parse('--pretty=false', '--count', '-3').values).toMatchObject({
      pretty: false,
      count: -3,
    });
    expect(parse('A', '--', '-a').args).toEqual(['A', '-a']);
    expect(parse('-').args).toEqual(['-']);
    expect(parseFlags(flags, ['-a', 'IMAGE', '-q'], false).args).toEqual(['IMAGE', '-q']);
  });

  test('text is UTF-8, paths are bytes', () => {
    const bytes = Buffer.from('ü', 'utf8').toString('latin1');
    expect(parse('-n', bytes, '-o', '\xff').values).toMatchObject({ name: 'ü', out: '\xff' });
  });

  test.each([
    [['--nope'], 'unknown flag: --nope'],
    [['--constructor'], 'unknown flag: --constructor'],
    [['-az'], "unknown shorthand flag: 'z' in -az"],
    [['-n'], "flag needs an argument: 'n' in -n"],
    [['--name'], 'flag needs an argument: --name'],
    [['--all=maybe'], 'invalid argument "maybe" for "--all"'],
    [['--count=1.5'], 'invalid argument "1.5" for "--count"'],
  ])('%j is refused', (argv, message) => {
    expect(() => parseFlags(flags, argv)).toThrow(FlagError);
    expect(() => parseFlags(flags, argv)).toThrow(message);
  });
});

describe('templates, as text/template has them', () => {
  const value = {
    Id: 'sha256:0123456789abcdef',
    Mounts: [
      { Type: 'bind', RW: true },
      { Type: 'volume', RW: false },
    ],
    Config: { Env: ['A=1', 'B=2'], Labels: { 'a.b': 'c', z: 'y' }, Cmd: null },
    Size: 1234,
    Empty: '',
  };

  test.each([
    ['{{.Id}}', 'sha256:0123456789abcdef'],
    ['{{json .Mounts}}', '[{"Type":"bind","RW":true},{"Type":"volume","RW":false}]'],
    ['{{ .Config.Env }}', '[A=1 B=2]'],
    ['{{.Config.Labels}}', 'map[a.b:c z:y]'],
    ['{{index .Config.Labels "a.b"}}', 'c'],
    ['{{index .Config.Env 1}}', 'B=2'],
    ['{{range .Mounts}}{{.Type}}={{.RW}};{{end}}', 'bind=true;volume=false;'],
    ['{{range $i, $m := .Mounts}}{{$i}}{{$m.Type}}{{$.Size}} {{end}}', '0bind1234 1volume1234 '],
    ['{{range $k, $v := .Config.Labels}}{{$k}}-{{$v}} {{end}}', 'a.b-c z-y '],
    ['{{range .Config.Cmd}}x{{else}}none{{end}}', 'none'],
    ['{{if .Empty}}a{{else if eq .Size 1234}}b{{else}}c{{end}}', 'b'],
    ['{{if and .Size (not .Empty)}}yes{{end}}', 'yes'],
    ['{{with .Config}}{{len .Env}}{{end}}', '2'],
    ['{{join .Config.Env ","}}', 'A=1,B=2'],
    ['{{.Id | printf "%.12s"}}', 'sha256:01234'],
    ['{{printf "%-6s|%04d|%q" "a" 42 "b"}}', 'a     |0042|"b"'],
    ['{{slice .Id 7 19}}', '0123456789ab'],
    ['{{upper "a"}}{{title "ab cd"}}{{`raw`}}', 'AAb Cdraw'],
    ['a {{- .Size -}} b', 'a1234b'],
    ['{{/* nothing */}}x', 'x'],
    ['{{$x := .Size}}{{$x}}', '1234'],
    ['{{(index .Mounts 0).Type}}', 'bind'],
    ['{{.Config.Cmd}}', '<nil>'],
    ['{{if .Missing}}a{{else}}b{{end}}', 'b'],
  ])('%s', (template, text) => {
    expect(apply(template, value)).toBe(text);
  });

  test.each([
    ['{{.Nope}}', 'no entry for .Nope'],
    ['{{nope .Id}}', 'function "nope" not defined'],
    ['{{.Id', 'unclosed action'],
    ['{{if .Id}}', '{{end}} is missing'],
    ['{{end}}', 'unexpected {{end}}'],
    ['{{.Id.X}}', "can't evaluate field X"],
    ['{{index .Mounts 5}}', 'out of range'],
    ['{{}}', 'missing value'],
    ['{{.Id ! }}', 'unexpected'],
  ])('%s is refused in one sentence', (template, message) => {
    expect(() => apply(template, value)).toThrow(message);
  });
});

describe('lists', () => {
  const columns = { table: { A: 'A HEAD', B: 'B' }, more: { C: 'CEE' }, quiet: 'A' };
  const rows = [
    { A: 'a', B: 'x', C: 1 },
    { A: 'aaaaaaaaaaaaaa', B: 'y', C: 2 },
  ];

  test('are tables with Docker’s widths', () => {
    expect(listText(rows, columns, {})).toBe(
      'A HEAD           B\na                x\naaaaaaaaaaaaaa   y\n',
    );
    expect(listText([], columns, {})).toBe('A HEAD    B\n');
  });

  test('take -q, json, templates, and tables of templates', () => {
    expect(listText(rows, columns, { quiet: true })).toBe('a\naaaaaaaaaaaaaa\n');
    expect(listText(rows.slice(1), columns, { format: 'json' })).toBe(
      '{"A":"aaaaaaaaaaaaaa","B":"y","C":2}\n',
    );
    expect(listText(rows, columns, { format: '{{.C}}\\t{{.B}}' })).toBe('1\tx\n2\ty\n');
    expect(listText(rows, columns, { format: 'table {{.C}}\\t{{.B}}' })).toBe(
      'CEE       B\n1         x\n2         y\n',
    );
  });

  test('inspect prints an array, or a template’s result each', () => {
    expect(inspectText([{ A: 1 }])).toBe('[\n    {\n        "A": 1\n    }\n]\n');
    expect(inspectText([{ A: 1 }, { A: 2 }], '{{.A}}')).toBe('1\n2\n');
  });
});

describe('words for people', () => {
  test('sizes', () => {
    expect([0, 999, 1000, 1_234_567, 78_600_000, 1_240_000_000].map((n) => humanSize(n))).toEqual([
      '0B',
      '999B',
      '1kB',
      '1.23MB',
      '78.6MB',
      '1.24GB',
    ]);
  });

  test('times', () => {
    const at = [0.5, 1, 59, 60, 3599, 3600, 86_400 * 3, 86_400 * 20, 86_400 * 100, 86_400 * 800];
    expect(at.map(humanDuration)).toEqual([
      'Less than a second',
      '1 second',
      '59 seconds',
      'About a minute',
      '59 minutes',
      'About an hour',
      '3 days',
      '2 weeks',
      '3 months',
      '2 years',
    ]);
    expect(ago('2026-01-01T00:00:00Z', Date.parse('2026-01-04T00:00:00Z'))).toBe('3 days ago');
    expect(ago(undefined)).toBe('N/A');
  });

  test('filters', () => {
    expect(parseFilters(['a=1', 'a=2', 'b=x=y'], ['a', 'b'])).toEqual(
      new Map([
        ['a', ['1', '2']],
        ['b', ['x=y']],
      ]),
    );
    expect(() => parseFilters(['c=1'], ['a'])).toThrow("invalid filter 'c'");
    expect(parseUntil('1h30m', 10_000_000)).toBe(10_000_000 - 5_400_000);
    expect(parseUntil('100')).toBe(100_000);
    expect(() => parseUntil('soon')).toThrow('invalid time');
  });
});
