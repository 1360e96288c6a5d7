/** Parses the values of uidmapping, gidmapping and squash_to_*: user and group IDs. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { IdRange } from '../overlay/shown/ids.js';

/** The last ID there is; the number after it means "none" (chown(2)). */
const LAST = 0xffff_fffe;

/** One ID in decimal; throws UserError. */
export function parseId(name: string, text: string | undefined): number {
  const id = text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : Infinity;
  if (id > LAST) {
    throw new UserError(
      `option ${name} takes an ID from 0 to ${LAST}, not '${display(text ?? '')}'`,
    );
  }
  return id;
}

/**
 * `DISK:SHOWN:COUNT[:DISK:SHOWN:COUNT...]`, with a colon in front as podman writes it; as
 * fuse-overlayfs has it, the ID on disk comes first. Throws UserError.
 */
export function parseMapping(name: string, text: string | undefined): readonly IdRange[] {
  const numbers = (text ?? '').split(':').filter((part) => part !== '');
  if (numbers.length === 0 || numbers.length % 3 !== 0) {
    throw new UserError(
      `option ${name} takes triples DISK:SHOWN:COUNT, not '${display(text ?? '')}'`,
    );
  }
  const ranges: IdRange[] = [];
  for (let i = 0; i < numbers.length; i += 3) {
    const [disk, client, count] = [0, 1, 2].map((j) => parseId(name, numbers[i + j]));
    if (count === 0 || disk + count - 1 > LAST || client + count - 1 > LAST) {
      throw new UserError(
        `option ${name} has the empty or too long range ${disk}:${client}:${count}: correct its last number`,
      );
    }
    ranges.push(Object.freeze({ disk, client, count }));
  }
  refuseOverlap(name, ranges);
  return Object.freeze(ranges);
}

/** Each ID has one counterpart, as in a user namespace (user_namespaces(7)). */
function refuseOverlap(name: string, ranges: readonly IdRange[]): void {
  for (const side of ['disk', 'client'] as const) {
    const sorted = [...ranges].sort((a, b) => a[side] - b[side]);
    const at = sorted.findIndex(
      (range, i) => i > 0 && sorted[i - 1][side] + sorted[i - 1].count > range[side],
    );
    if (at < 0) continue;
    const { disk, client, count } = sorted[at];
    throw new UserError(
      `option ${name} maps an ID twice: the range ${disk}:${client}:${count} overlaps another one`,
    );
  }
}
