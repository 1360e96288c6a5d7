/** Sizes and times as Docker words them (github.com/docker/go-units). */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** C's `%.Ng`: N significant digits, no zeros at the end. */
const significant = (value: number, digits: number): string =>
  String(Number(value.toPrecision(digits)));

/** `78.6MB`: powers of 1000. */
export function humanSize(bytes: number, digits = 3): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return significant(value, digits) + UNITS[unit];
}

const HOUR = 60;
const DAY = 24 * HOUR;

/** `3 days`, `About an hour`: seconds in words. */
export function humanDuration(seconds: number): string {
  if (seconds < 1) return 'Less than a second';
  if (seconds < 2) return '1 second';
  if (seconds < 60) return `${Math.floor(seconds)} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < HOUR) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  const days = Math.floor(hours / 24);
  if (hours < 24 * 7 * 2) return `${days} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(days / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(days / 30)} months`;
  return `${Math.floor(minutes / DAY / 365)} years`;
}

/** `3 days ago`, from an RFC 3339 time; `N/A` for none. */
export function ago(time: string | undefined, now = Date.now()): string {
  const at = time === undefined ? Number.NaN : Date.parse(time);
  if (Number.isNaN(at)) return 'N/A';
  return `${humanDuration(Math.max(0, (now - at) / 1000))} ago`;
}

/** `2026-11-30 05:10:59 +0000 UTC`: Go's Time.String() in UTC, which `--no-trunc` and templates show. */
export function goTime(time: string | undefined): string {
  const at = time === undefined ? Number.NaN : Date.parse(time);
  if (Number.isNaN(at)) return '0001-01-01 00:00:00 +0000 UTC';
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;
}
