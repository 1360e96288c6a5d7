/** Instructions that change only how the image runs. */
import { UserError } from '../../base/errno.js';
import type { Healthcheck, RunConfig } from '../content/documents.js';
import { setEnvironment } from '../images/changes.js';
import type { Instruction } from './parse/dockerfile.js';
import { expand, jsonList, splitWords, type Variables } from './parse/words.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface Settings {
  config: Mutable<RunConfig>;
  author: string | undefined;
  /** CMD stands in this stage: ENTRYPOINT does not take it away. */
  ownCmd: boolean;
}

/** Variables, and the escape character of the file. */
interface Scope {
  readonly variables: Variables;
  readonly escape: string;
}

const DEFAULT_SHELL = ['/bin/sh', '-c'];

export const shellOf = (config: RunConfig): readonly string[] => config.Shell ?? DEFAULT_SHELL;

/** `KEY=value` words, or the old form `KEY some value`. */
function pairs({ args, keyword }: Instruction, scope: Scope): [string, string][] {
  const { variables, escape } = scope;
  const words = splitWords(args, escape);
  if (words.length === 0) throw new UserError(`${keyword} requires at least one argument`);
  if (!words[0].includes('=')) {
    const match = /^(\S+)\s+(.*)$/s.exec(args);
    if (!match) throw new UserError(`${keyword} must have two arguments`);
    return [[expand(match[1], variables, escape), expand(match[2], variables, escape)]];
  }
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw new UserError(`${keyword}: '${word}' is not KEY=VALUE`);
    return [
      expand(word.slice(0, at), variables, escape),
      expand(word.slice(at + 1), variables, escape),
    ];
  });
}

const commandOf = (config: RunConfig, text: string): string[] =>
  jsonList(text) ?? [...shellOf(config), text];

const PORT = /^(\d{1,5})(-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i;

/** `80`, `80/udp`, `8000-8002`: each port by itself, as Docker writes them. */
function ports(word: string): string[] {
  const match = PORT.exec(word);
  const first = Number(match?.[1] ?? 0);
  const last = Number(match?.[3] ?? first);
  if (!match || last < first || last > 65_535)
    throw new UserError(`EXPOSE: invalid port '${word}'`);
  const protocol = ((match[4] as string | undefined) ?? 'tcp').toLowerCase();
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`);
}

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Go's durations: `1m30s`. Nanoseconds. */
function duration(text: string, flag: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (text === '0') return 0;
  if (parts.length === 0 || parts.map(([all]) => all).join('') !== text) {
    throw new UserError(`${flag}: '${text}' is no duration such as 30s or 1m30s`);
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit], 0);
}

function healthcheck({ args, flags }: Instruction): Healthcheck {
  const match = /^(\S+)\s*(.*)$/s.exec(args);
  const kind = match?.[1].toUpperCase();
  const text = match?.[2] ?? '';
  if (kind === 'NONE' && text === '') return { Test: ['NONE'] };
  if (kind !== 'CMD' || text === '') {
    throw new UserError('HEALTHCHECK requires CMD and a command, or NONE');
  }
  const list = jsonList(text);
  const check: Mutable<Healthcheck> = { Test: list ? ['CMD', ...list] : ['CMD-SHELL', text] };
  for (const { name, value = '' } of flags) {
    const flag = `HEALTHCHECK --${name}`;
    if (name === 'interval') check.Interval = duration(value, flag);
    else if (name === 'timeout') check.Timeout = duration(value, flag);
    else if (name === 'start-period') check.StartPeriod = duration(value, flag);
    else if (name === 'start-interval') check.StartInterval = duration(value, flag);
    else if (name === 'retries' && /^\d{1,9}$/.test(value)) check.Retries = Number(value);
    else throw new UserError(`${flag}${value === '' ? '' : `=${value}`} is not known`);
  }
  return check;
}

function signal(text: string): string {
  if (!/^(SIG)?[A-Z0-9+-]+$/i.test(text)) throw new UserError(`STOPSIGNAL: invalid signal ${text}`);
  return text;
}

/** The value for one word, expanded; throws when there is not exactly one. */
function one({ args, keyword }: Instruction, { variables, escape }: Scope): string {
  const value = expand(args, variables, escape).trim();
  if (value === '') throw new UserError(`${keyword} requires exactly one argument`);
  return value;
}

const onlyHealthcheckHasFlags = ({ keyword, flags }: Instruction): void => {
  if (keyword !== 'HEALTHCHECK' && flags.length > 0) {
    throw new UserError(`${keyword} has no flag --${flags[0].name}`);
  }
};

type Change = (settings: Settings, instruction: Instruction, scope: Scope) => void;

const CHANGES: Readonly<Record<string, Change>> = {
  CMD(settings, { args }) {
    settings.config.Cmd = commandOf(settings.config, args);
    settings.ownCmd = true;
  },
  ENTRYPOINT(settings, { args }) {
    const { config } = settings;
    config.Entrypoint = commandOf(config, args);
    // The image's CMD was for the image's ENTRYPOINT.
    if (!settings.ownCmd) delete config.Cmd;
  },
  ENV({ config }, instruction, scope) {
    for (const [key, value] of pairs(instruction, scope)) {
      config.Env = setEnvironment(config.Env ?? [], key, value);
    }
  },
  EXPOSE({ config }, { args }, { variables, escape }) {
    const words = splitWords(args, escape).flatMap((word) =>
      expand(word, variables, escape).split(/\s+/).filter(Boolean),
    );
    if (words.length === 0) throw new UserError('EXPOSE requires at least one argument');
    for (const port of words.flatMap(ports)) {
      config.ExposedPorts = { ...config.ExposedPorts, [port]: {} };
    }
  },
  HEALTHCHECK({ config }, instruction) {
    config.Healthcheck = healthcheck(instruction);
  },
  LABEL({ config }, instruction, scope) {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(instruction, scope)) };
  },
  MAINTAINER(settings, instruction, scope) {
    settings.author = one(instruction, scope);
  },
  ONBUILD({ config }, { args, heredocs }) {
    const trigger = /^(\S+)/.exec(args)?.[1].toUpperCase() ?? '';
    if (trigger === '') throw new UserError('ONBUILD requires an instruction');
    if (['ONBUILD', 'FROM', 'MAINTAINER'].includes(trigger)) {
      throw new UserError(`ONBUILD ${trigger} is not allowed`);
    }
    const documents = heredocs.map(({ name, content }) => `\n${content}${name}`);
    config.OnBuild = [...(config.OnBuild ?? []), args + documents.join('')];
  },
  SHELL({ config }, { args }) {
    const list = jsonList(args);
    if (!list || list.length === 0) {
      throw new UserError(
        'SHELL requires the arguments to be in JSON form: SHELL ["/bin/sh", "-c"]',
      );
    }
    config.Shell = list;
  },
  STOPSIGNAL({ config }, instruction, scope) {
    config.StopSignal = signal(one(instruction, scope));
  },
  USER({ config }, instruction, scope) {
    config.User = one(instruction, scope);
  },
  VOLUME({ config }, { args }, { variables, escape }) {
    const paths = jsonList(args) ?? splitWords(args, escape);
    const words = paths.map((path) => expand(path, variables, escape));
    if (words.length === 0 || words.includes('')) {
      throw new UserError('VOLUME requires at least one path');
    }
    for (const path of words) config.Volumes = { ...config.Volumes, [path]: {} };
  },
};

/** Applies an instruction that changes only settings; false when it is no such one. Throws UserError. */
export function applySetting(settings: Settings, instruction: Instruction, scope: Scope): boolean {
  if (!Object.hasOwn(CHANGES, instruction.keyword)) return false;
  onlyHealthcheckHasFlags(instruction);
  CHANGES[instruction.keyword](settings, instruction, scope);
  return true;
}
