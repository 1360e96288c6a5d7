/**
 * Lines added to a TOML file of the user, whose comments and order stay. A parser tells before and after
 * what the file says: it must say the same, and what was added.
 */
import { isDeepStrictEqual } from 'node:util';
import { parse, type TomlTable } from 'smol-toml';
import { UserError } from '../../base/errno.js';

export interface Setting {
  /** The table, from the outermost; none for a key at the top. */
  readonly table: readonly string[];
  readonly key: string;
  readonly value: string | boolean | readonly string[];
}

const bare = (key: string): string => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key));
const header = (table: readonly string[]): string => `[${table.map(bare).join('.')}]`;

const valueText = (value: Setting['value']): string => JSON.stringify(value);

const keyLine = ({ key, value }: Setting): string => `${bare(key)} = ${valueText(value)}`;

/** The settings as a person writes them. */
export function tomlLines(settings: readonly Setting[]): string {
  let table = '';
  const lines: string[] = [];
  for (const setting of settings) {
    const own = setting.table.length === 0 ? '' : header(setting.table);
    if (own !== table) lines.push(own);
    table = own;
    lines.push(keyLine(setting));
  }
  return `${lines.join('\n')}\n`;
}

function parsed(path: string, text: string): TomlTable {
  try {
    return parse(text);
  } catch (error) {
    const why = (error as Error).message.split('\n')[0];
    throw new UserError(`${path} is not TOML that can be read (${why}): mend it first`);
  }
}

const isTable = (value: unknown): value is TomlTable =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** The table there; undefined when there is none. */
export function tableAt(path: readonly string[], root: unknown): TomlTable | undefined {
  let at = root;
  for (const key of path) {
    if (!isTable(at)) return undefined;
    at = at[key];
  }
  return isTable(at) ? at : undefined;
}

/** Where in `lines` the header of a table is; -1 when none is there. */
function headerAt(lines: readonly string[], table: readonly string[]): number {
  return lines.findIndex((line) => {
    if (!/^\s*\[[^[]/.test(line)) return false;
    try {
      // A header alone is a document with one empty table.
      const found = tableAt(table, parse(line));
      return found !== undefined && Object.keys(found).length === 0;
    } catch {
      return false; // Within a string of several lines.
    }
  });
}

function insert(text: string, setting: Setting): string {
  const lines = text.split('\n');
  if (setting.table.length === 0) return `${keyLine(setting)}\n${text}`;
  const at = headerAt(lines, setting.table);
  if (at >= 0) return lines.toSpliced(at + 1, 0, keyLine(setting)).join('\n');
  const gap = text === '' || text.endsWith('\n\n') ? '' : text.endsWith('\n') ? '\n' : '\n\n';
  return `${text}${gap}${header(setting.table)}\n${keyLine(setting)}\n`;
}

/** `text` with the settings; throws UserError where it has others of these names. */
export function withSettings(path: string, text: string, settings: readonly Setting[]): string {
  let now = text;
  for (const setting of settings) {
    const before = parsed(path, now);
    const there = tableAt(setting.table, before)?.[setting.key];
    if (isDeepStrictEqual(there, setting.value)) continue;
    const shown = `${header(setting.table)} ${keyLine(setting)}`.replace(/^\[\] /, '');
    if (there !== undefined) {
      throw new UserError(
        `${path} has another ${setting.key}, ${JSON.stringify(there)}: make it ${shown}, or take it out`,
      );
    }
    const next = insert(now, setting);
    if (!says(path, next, before, setting)) {
      throw new UserError(`${path} cannot be changed without changing more: add by hand: ${shown}`);
    }
    now = next;
  }
  return now;
}

/** True when `text` says what `before` does and the setting, and nothing else. */
function says(path: string, text: string, before: TomlTable, setting: Setting): boolean {
  let after: TomlTable;
  try {
    after = parsed(path, text);
  } catch {
    return false; // A table that is written in another way, as `a.b = ` or inline.
  }
  const table = tableAt(setting.table, after);
  if (!table || !isDeepStrictEqual(table[setting.key], setting.value)) return false;
  Reflect.deleteProperty(table, setting.key);
  return isDeepStrictEqual(withoutEmpty(after), withoutEmpty(before));
}

/** A header that was added for the setting leaves an empty table. */
function withoutEmpty(value: unknown): unknown {
  if (!isTable(value)) return value;
  const entries = Object.entries(value)
    .map(([key, each]) => [key, withoutEmpty(each)] as const)
    .filter(([, each]) => !isTable(each) || Object.keys(each).length > 0);
  return Object.fromEntries(entries);
}

/** What the file says at the top; throws UserError for what is no TOML. */
export const tomlOf = (path: string, text: string): Readonly<Record<string, unknown>> =>
  parsed(path, text);
