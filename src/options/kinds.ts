/**
 * The kinds of mount options. A kind parses a value or refuses it, and makes the row of one option (table.ts)
 * from the option's name and its effect.
 */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { IdRange } from '../overlay/shown/ids.js';
import type { Collected } from './collected.js';
import { parseId, parseMapping } from './ids.js';
import { needPath, unescape } from './list.js';

/** What is said of an option in `stratafs help mount` and in docs/options.md. */
interface Shown {
  /** The form that is shown, when it is not the name; several options may share a line. */
  readonly usage?: string;
  readonly help: string;
  /** The line of docs/options.md, when it says more; Markdown. */
  readonly docs?: string;
}

export interface OptionRow {
  readonly name: string;
  /** Takes the option's value; throws a UserError. `cwd`: where a relative path begins. */
  readonly take: (into: Collected, value: string | undefined, cwd: string) => void;
  /** Absent: the line of another option speaks for this one. */
  readonly shown?: Shown;
}

export type Rows = readonly OptionRow[];

const row = (name: string, shown: Shown | undefined, take: OptionRow['take']): OptionRow =>
  shown ? { name, take, shown } : { name, take };

function refuseValue(name: string, value: string | undefined): void {
  if (value === undefined) return;
  throw new UserError(`option ${name} takes no value: write it without '=${display(value)}'`);
}

/** A path, or a list of paths. */
export const path = (
  name: string,
  set: (into: Collected, value: string, cwd: string) => void,
  shown?: Shown,
): OptionRow =>
  row(name, shown, (into, value, cwd) => {
    set(into, needPath(name, value), cwd);
  });

/** A word that sets and clears MS_* flags of mount(2). */
export const flag = (name: string, set: number, clear: number, shown?: Shown): OptionRow =>
  row(name, shown, (into, value) => {
    refuseValue(name, value);
    into.flags = (into.flags & ~clear) | set;
  });

/** A word that changes the mount itself. */
export const word = (name: string, set: (into: Collected) => void, shown?: Shown): OptionRow =>
  row(name, shown, (into, value) => {
    refuseValue(name, value);
    set(into);
  });

/** `name=0` or `name=1`. */
export const switched = (
  name: string,
  set: (into: Collected, on: boolean) => void,
  shown?: Shown,
): OptionRow =>
  row(name, shown, (into, value) => {
    if (value !== '0' && value !== '1') {
      throw new UserError(`option ${name} takes 0 or 1, not '${display(value ?? '')}'`);
    }
    set(into, value === '1');
  });

/** One of `choices`. */
export const choice = <Value extends string>(
  name: string,
  choices: readonly Value[],
  set: (into: Collected, value: Value) => void,
  shown?: Shown,
): OptionRow =>
  row(name, shown, (into, value) => {
    const chosen = choices.find((each) => each === value);
    if (chosen === undefined) {
      const given = display(value ?? '');
      throw new UserError(`option ${name} takes ${choices.join(', ')}, not '${given}'`);
    }
    set(into, chosen);
  });

/** MS_* propagation, set by a second mount(2) once the mount is there. */
export const propagation = (name: string, set: number, shown?: Shown): OptionRow =>
  word(
    name,
    (into) => {
      into.propagation = set;
    },
    shown,
  );

/** Any text; an empty one says nothing. */
export const text = (
  name: string,
  set: (into: Collected, value: string) => void,
  shown?: Shown,
): OptionRow =>
  row(name, shown, (into, value) => {
    const given = unescape(value ?? '');
    if (given !== '') set(into, given);
  });

/** Triples of IDs. */
export const mapping = (
  name: string,
  set: (into: Collected, ranges: readonly IdRange[]) => void,
  shown?: Shown,
): OptionRow =>
  row(name, shown, (into, value) => {
    set(into, parseMapping(name, value));
  });

/** One ID. */
export const id = (
  name: string,
  set: (into: Collected, id: number) => void,
  shown?: Shown,
): OptionRow =>
  row(name, shown, (into, value) => {
    set(into, parseId(name, value));
  });

/** A SELinux label, for mount(2); the last of one name counts. */
export const label = (name: string, shown?: Shown): OptionRow =>
  row(name, shown, (into, value) => {
    if (value === undefined || value === '' || value === '""') {
      throw new UserError(`option ${name} needs a SELinux label, as in ${name}="LABEL"`);
    }
    const others = into.labels.filter((each) => !each.startsWith(`${name}=`));
    into.labels = [...others, `${name}=${value}`];
  });

/** Accepted with any value and without effect: what mount(8) and engines pass to everybody. */
export const ignored = (name: string, shown?: Shown): OptionRow =>
  row(name, shown, () => undefined);

/**
 * An option of fuse-overlayfs or libfuse that tells of nothing here. Accepted with any value, as a store
 * whose `mountopt` has it must not stop every container; the host's log says so.
 */
export const foreign = (name: string, shown?: Shown): OptionRow =>
  row(name, shown, (into, value) => {
    const given = value === undefined ? name : `${name}=${display(value)}`;
    into.notes.push(`option ${given} of fuse-overlayfs has no effect here`);
  });

/** A file with more options: `allOptions` (list.ts) has read it, unless it stands in such a file. */
export const file = (name: string, shown?: Shown): OptionRow =>
  row(name, shown, () => {
    throw new UserError(
      `option ${name} stands in an options file: name every file on the command line`,
    );
  });
