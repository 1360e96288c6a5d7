/** `--filter KEY=VALUE`, given many times: values of one key are alternatives, keys go together. */
import { UserError } from '../../base/errno.js';

export type Filters = ReadonlyMap<string, readonly string[]>;

/** Throws UserError for what is no filter of `known`. */
export function parseFilters(given: readonly string[], known: readonly string[]): Filters {
  const filters = new Map<string, string[]>();
  for (const text of given) {
    const at = text.indexOf('=');
    if (at < 1) throw new UserError(`invalid filter '${text}': write KEY=VALUE`);
    const key = text.slice(0, at).trim();
    if (!known.includes(key)) {
      throw new UserError(`invalid filter '${key}': there are ${known.join(', ')}`);
    }
    const values = filters.get(key) ?? [];
    values.push(text.slice(at + 1).trim());
    filters.set(key, values);
  }
  return filters;
}

export function filterBool(filters: Filters, key: string): boolean | undefined {
  const value = filters.get(key)?.at(-1);
  if (value === undefined) return undefined;
  if (['true', '1', 't', 'T', 'TRUE', 'True'].includes(value)) return true;
  if (['false', '0', 'f', 'F', 'FALSE', 'False'].includes(value)) return false;
  throw new UserError(`invalid filter '${key}=${value}': true or false`);
}

/** `label=KEY` and `label=KEY=VALUE`: all of them must hold. */
export function matchLabels(
  wanted: readonly string[] | undefined,
  labels: Readonly<Record<string, string>> | null | undefined,
): boolean {
  return (wanted ?? []).every((text) => {
    const at = text.indexOf('=');
    const key = at < 0 ? text : text.slice(0, at);
    if (!labels || !Object.hasOwn(labels, key)) return false;
    return at < 0 || labels[key] === text.slice(at + 1);
  });
}

/** A time of `until=`: a date, seconds since 1970, or a span before now such as `24h`. Milliseconds. */
export function parseUntil(text: string, now = Date.now()): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const span = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (span.length > 0 && span.map(([all]) => all).join('') === text) {
    const unit: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
    return now - span.reduce((sum, [, n, u]) => sum + Number(n) * unit[u], 0);
  }
  const at = Date.parse(text);
  if (Number.isNaN(at))
    throw new UserError(`invalid time '${text}': a date, or a span such as 24h`);
  return at;
}
