/** Reading Dockerfiles: what dockerfile-ast loses, words and variables, stages, .dockerignore. */
import { describe, expect, test } from 'vitest';
import { readIgnore } from '../../../src/store/builds/ignore.js';
import { parseDockerfile } from '../../../src/store/builds/parse/dockerfile.js';
import { expand, expandRaw, jsonList, splitWords } from '../../../src/store/builds/parse/words.js';
import { applySetting, type Settings } from '../../../src/store/builds/settings.js';
import { planStages } from '../../../src/store/builds/stages.js';

const parse = (text: string) => parseDockerfile(text, 'D').instructions;
const variables = new Map([
  ['A', 'one'],
  ['EMPTY', ''],
  ['PATHS', '/a/b/c.tar.gz'],
]);
const ex = (text: string) => expand(text, variables, '\\');

describe('instructions', () => {
  test('comments and empty lines inside a continued line go, blanks in JSON stay', () => {
    const [run, cmd] = parse('RUN echo a \\\n  # no\n\n  && echo b\nCMD ["a b", "c"]\n');
    expect(run.args).toBe('echo a   && echo b');
    expect(jsonList(cmd.args)).toEqual(['a b', 'c']);
    expect([run.at, cmd.at]).toEqual(['D:1', 'D:5']);
  });

  test('here-documents: last newline, tabs of <<-, quoted names, two in one line', () => {
    const [run] = parse("RUN <<-'A' cat && <<B cat\n\ttabbed\n\tA\nbee\n  B\nB\nUSER x\n");
    expect(run.heredocs).toEqual([
      { name: 'A', content: 'tabbed\n', expands: false },
      { name: 'B', content: 'bee\n  B\n', expands: true },
    ]);
    expect(() => parse('RUN <<EOT\nnever\n')).toThrow('D:1: the here-document EOT does not end');
  });

  test('flags, also on continued lines, with quotes', () => {
    const [run] = parse('RUN --mount=type=cache,target=/x \\\n --network=none  make\n');
    expect(run.flags).toEqual([
      { name: 'mount', value: 'type=cache,target=/x' },
      { name: 'network', value: 'none' },
    ]);
    expect(run.args).toBe('make');
  });

  test('the escape directive, CRLF, and what is none', () => {
    const file = parseDockerfile('# escape=`\r\nFROM a\r\nRUN dir `\r\n c:\\\r\n', 'D');
    expect(file.escape).toBe('`');
    expect(file.instructions[1].args).toBe('dir  c:\\');
    expect(() => parse('FROM a\nRUNN x\n')).toThrow('D:2: unknown instruction: RUNN');
  });
});

describe('words', () => {
  test.each([
    ['$A/${A}', 'one/one'],
    ['\'$A\' "$A" \\$A', '$A one $A'],
    ['${EMPTY:-x}${EMPTY-x}${NONE:-$A}', 'xone'],
    ['${A:+yes}${EMPTY:+no}${EMPTY+set}', 'yesset'],
    ['${PATHS#*/}', 'a/b/c.tar.gz'],
    ['${PATHS##*/}', 'c.tar.gz'],
    ['${PATHS%.*}', '/a/b/c.tar'],
    ['${PATHS%%.*}', '/a/b/c'],
    ['${PATHS/\\//_}', '_a/b/c.tar.gz'],
    ['${PATHS//\\//_}', '_a_b_c.tar.gz'],
    ['$NONE$', '$'],
    ['"a \\" b \\n"', 'a " b \\n'],
  ])('%s', (text, expected) => {
    expect(ex(text)).toBe(expected);
  });

  test('what cannot be', () => {
    expect(() => ex('${NONE:?give it}')).toThrow('NONE: give it');
    expect(() => ex('${A')).toThrow('} is missing');
    expect(() => ex('"a')).toThrow('a " is not closed');
    expect(() => splitWords('a "b', '\\')).toThrow('a quote is not closed');
  });

  test('quotes are characters in a here-document', () => {
    expect(expandRaw('"$A" \'${A}\' \\$A \\n', variables, '\\')).toBe('"one" \'one\' $A \\n');
    expect(splitWords('a="b c" d\\ e  f', '\\')).toEqual(['a="b c"', 'd\\ e', 'f']);
  });
});

describe('stages', () => {
  const plan = (text: string, args: [string, string][] = []) =>
    planStages(parseDockerfile(text, 'D'), { buildArgs: new Map(args), platform: undefined });

  test('arguments before FROM, names, numbers, platforms', () => {
    const { stages } = plan(
      'ARG V=1\nARG W=x$V\nFROM --platform=$BUILDPLATFORM a:$W AS One\nFROM one\nFROM scratch\n',
      [['V', '2']],
    );
    expect(stages.map(({ from, name, on }) => [from, name, on])).toEqual([
      ['a:x2', 'one', undefined],
      ['one', undefined, 0],
      ['scratch', undefined, undefined],
    ]);
    expect(stages[0].platform?.os).toBe('linux');
  });

  test('what is wrong says where', () => {
    expect(() => plan('RUN x\nFROM a\n')).toThrow('D:1: RUN stands before FROM');
    expect(() => plan('ARG X\n')).toThrow('no FROM');
    expect(() => plan('FROM a b c d\n')).toThrow('D:1: FROM requires either one argument');
    expect(() => plan('FROM $NONE\n')).toThrow('D:1: FROM: $NONE is empty');
    expect(() => plan('FROM a AS 0x\n')).toThrow("'0x' is no name of a stage");
  });
});

describe('settings', () => {
  function settle(...lines: string[]): Settings {
    const settings: Settings = { config: { Cmd: ['base'] }, author: undefined, ownCmd: false };
    const scope = { variables, escape: '\\' };
    for (const instruction of parse(`${lines.join('\n')}\n`)) {
      applySetting(settings, instruction, scope);
    }
    return settings;
  }

  test('ENTRYPOINT takes the CMD of the base away, not that of the stage', () => {
    expect(settle('ENTRYPOINT ["x"]').config).toEqual({ Entrypoint: ['x'] });
    expect(settle('CMD y', 'ENTRYPOINT x').config).toEqual({
      Cmd: ['/bin/sh', '-c', 'y'],
      Entrypoint: ['/bin/sh', '-c', 'x'],
    });
  });

  test('names and values, in the new form and the old', () => {
    const { config, author } = settle(
      'MAINTAINER "me $A"',
      'ENV K=$A L="a b" M=x\\ y',
      'ENV OLD some $A words',
    );
    expect(author).toBe('me one');
    expect(config.Env).toEqual(['K=one', 'L=a b', 'M=x y', 'OLD=some one words']);
  });

  test('ports, health checks, volumes', () => {
    const { config } = settle(
      'EXPOSE 80 90-91/udp',
      'HEALTHCHECK --interval=1m30s --retries=3 CMD ["a b"]',
      'VOLUME ["/a b"]',
      'VOLUME /$A /c',
      'ONBUILD RUN x',
      'SHELL ["/bin/bash", "-c"]',
      'CMD z',
    );
    expect(Object.keys(config.ExposedPorts ?? {})).toEqual(['80/tcp', '90/udp', '91/udp']);
    expect(config.Healthcheck).toEqual({
      Test: ['CMD', 'a b'],
      Interval: 90e9,
      Retries: 3,
    });
    expect(Object.keys(config.Volumes ?? {})).toEqual(['/a b', '/one', '/c']);
    expect(config.OnBuild).toEqual(['RUN x']);
    expect(config.Cmd).toEqual(['/bin/bash', '-c', 'z']);
  });

  test.each([
    ['EXPOSE 99999', 'invalid port'],
    ['EXPOSE x', 'invalid port'],
    ['HEALTHCHECK --interval=5 CMD x', 'no duration'],
    ['HEALTHCHECK x', 'requires CMD'],
    ['SHELL /bin/sh', 'JSON form'],
    ['ONBUILD FROM x', 'not allowed'],
    ['STOPSIGNAL a b', 'invalid signal'],
    ['LABEL =x', 'is not KEY=VALUE'],
    ['CMD --x y', 'CMD has no flag --x'],
  ])('%s', (line, sentence) => {
    expect(() => settle(line)).toThrow(sentence);
  });
});

describe('.dockerignore', () => {
  const ignored = (patterns: string, ...paths: string[]) => {
    const is = readIgnore(patterns);
    return paths.filter((path) => is(path, false));
  };

  test('is read as Docker reads it, not as git', () => {
    expect(ignored('*.md', 'a.md', 'sub/a.md')).toEqual(['a.md']);
    expect(ignored('**/*.md\n!sub/keep.md', 'sub/a.md', 'sub/keep.md')).toEqual(['sub/a.md']);
    expect(ignored('# c\n\n/dir\n!dir/x', 'dir', 'dir/a', 'dir/x')).toEqual(['dir', 'dir/a']);
    expect(ignored('', 'a')).toEqual([]);
    expect(ignored('*\n!a', 'a', 'b')).toEqual(['b']);
  });
});
