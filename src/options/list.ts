/**
 * The text of the `-o` list, `key[=value],...`: splits it and undoes its escapes. Strings are latin1, one
 * character a byte.
 */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import { readOptionsFile } from './file.js';

/** Cuts at each of `separators` that is neither escaped by a backslash nor inside double quotes. */
export function cut(text: string, separators: string, quotes: boolean): string[] {
  const parts: string[] = [];
  let from = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (quotes && text[i] === '"') quoted = !quoted;
    else if (!quoted && separators.includes(text[i])) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

/** `\,`, `\:` and `\\` stand for the second character; any other backslash for itself. */
export const unescape = (text: string): string => text.replace(/\\([,:\\])/g, '$1');

type Option = [name: string, value: string | undefined];

/** The options of every `-o`, in order, with the values still escaped. */
export function splitOptions(lists: readonly string[], separators = ','): Option[] {
  return lists
    .flatMap((list) => cut(list, separators, true))
    .filter((option) => option !== '')
    .map((option) => {
      const equals = option.indexOf('=');
      return equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)];
    });
}

/** The same with the contents of each `optionsfile` in its place; there a newline is a comma, too. */
export function allOptions(lists: readonly string[], cwd: string): Option[] {
  return splitOptions(lists).flatMap((option) => {
    const [name, value] = option;
    if (name !== 'optionsfile') return [option];
    const path = absolute(unescape(needPath(name, value)), cwd);
    return splitOptions([readOptionsFile(path)], ',\n');
  });
}

/** The paths of a `lowerdir`, without its escapes; data-only ones too. */
export const splitLayers = (value: string): string[] =>
  cut(value, ':', false)
    .filter((part) => part !== '')
    .map(unescape);

/**
 * Absolute: relative layer paths mean the caller's directory, not the host's. Throws UserError for a
 * relative path when `cwd` is empty, that is: when the caller could not read it.
 */
export function absolute(path: string, cwd: string): string {
  if (path.startsWith('/')) return path;
  if (cwd === '') {
    throw new UserError(
      `${display(path)} is relative, and the current directory cannot be read: give an absolute path, or cd to a directory that is there`,
    );
  }
  return `${cwd === '/' ? '' : cwd}/${path}`;
}

export function needPath(name: string, value: string | undefined): string {
  if (value === undefined || value === '') {
    throw new UserError(
      `option ${name} needs a path, as in ${name}=${name === 'optionsfile' ? 'FILE' : 'DIR'}`,
    );
  }
  return value;
}
