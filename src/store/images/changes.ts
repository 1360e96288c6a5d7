/**
 * `--change`: instructions of a Dockerfile that alter how an image runs (docker import and commit take
 * CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR).
 */
import { UserError } from '../../base/errno.js';
import type { RunConfig } from '../content/documents.js';

type Mutable = { -readonly [K in keyof RunConfig]: RunConfig[K] };

/** Words of a line: blanks separate, quotes and backslashes as in a shell. */
function words(text: string, instruction: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (c === '\\' && quote !== "'" && at + 1 < text.length) word = (word ?? '') + text[++at];
    else if (quote !== '') {
      if (c === quote) quote = '';
      else word = (word ?? '') + c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (/\s/.test(c)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else word = (word ?? '') + c;
  }
  if (quote !== '') throw new UserError(`${instruction}: a quote is not closed`);
  if (word !== undefined) found.push(word);
  return found;
}

/** `["a", "b"]`, or undefined when it is no JSON list of strings (then it is a shell's line). */
function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    const ok = Array.isArray(value) && value.every((each) => typeof each === 'string');
    return ok ? value : undefined;
  } catch {
    return undefined;
  }
}

function pairs(text: string, instruction: string): [string, string][] {
  const list = words(text, instruction);
  // `ENV KEY some value`: the old form.
  if (list.length > 0 && !list[0].includes('=')) {
    const match = /^(\S+)\s+(.*)$/s.exec(text);
    if (!match) throw new UserError(`${instruction} must have two arguments`);
    return [[match[1], match[2]]];
  }
  return list.map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw new UserError(`${instruction}: '${word}' is not KEY=VALUE`);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

/** A command line: a list as it is, a text through the shell. */
const command = (config: Mutable, text: string): string[] =>
  jsonList(text) ?? [...(config.Shell ?? ['/bin/sh', '-c']), text];

/** `KEY=value` added to a list, in the place of one of the same key. */
export function setEnvironment(env: readonly string[], key: string, value: string): string[] {
  const at = env.findIndex((each) => each.startsWith(`${key}=`));
  return at < 0 ? [...env, `${key}=${value}`] : env.with(at, `${key}=${value}`);
}

const PORT = /^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/;

const INSTRUCTIONS: Readonly<Record<string, (config: Mutable, text: string) => void>> = {
  CMD(config, text) {
    config.Cmd = command(config, text);
  },
  ENTRYPOINT(config, text) {
    config.Entrypoint = command(config, text);
  },
  ENV(config, text) {
    for (const [key, value] of pairs(text, 'ENV')) {
      config.Env = setEnvironment(config.Env ?? [], key, value);
    }
  },
  EXPOSE(config, text) {
    for (const port of words(text, 'EXPOSE')) {
      if (!PORT.test(port)) throw new UserError(`EXPOSE: invalid port '${port}'`);
      const full = port.includes('/') ? port : `${port}/tcp`;
      config.ExposedPorts = { ...config.ExposedPorts, [full]: {} };
    }
  },
  LABEL(config, text) {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(text, 'LABEL')) };
  },
  ONBUILD(config, text) {
    config.OnBuild = [...(config.OnBuild ?? []), text];
  },
  STOPSIGNAL(config, text) {
    config.StopSignal = text;
  },
  USER(config, text) {
    config.User = text;
  },
  VOLUME(config, text) {
    for (const path of jsonList(text) ?? words(text, 'VOLUME')) {
      config.Volumes = { ...config.Volumes, [path]: {} };
    }
  },
  WORKDIR(config, text) {
    config.WorkingDir = text.startsWith('/')
      ? text
      : `${(config.WorkingDir ?? '/').replace(/\/$/, '')}/${text}`;
  },
};

/** Applies `--change` instructions in order. Throws UserError. */
export function applyChanges(config: RunConfig, changes: readonly string[]): RunConfig {
  const result: Mutable = { ...config };
  for (const line of changes) {
    const match = /^\s*([A-Za-z]+)\s+(.*\S)\s*$/s.exec(line);
    const name = match?.[1].toUpperCase() ?? '';
    if (!match || !Object.hasOwn(INSTRUCTIONS, name)) {
      throw new UserError(
        `'${line}' is no change: ${Object.keys(INSTRUCTIONS).join(', ')} ARGUMENTS`,
      );
    }
    INSTRUCTIONS[name](result, match[2]);
  }
  return result;
}
