/** The user namespace of this process (user_namespaces(7)). */
import { readFileSync, readlinkSync } from 'node:fs';

/** `count` IDs from `inside` on are those from `outside` on in the parent namespace. */
interface NamespaceRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

function readMap(file: string): readonly NamespaceRange[] {
  const lines = readFileSync(`/proc/self/${file}`, 'latin1').trim().split('\n');
  return lines
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter((numbers) => numbers.length === 3)
    .map(([inside, outside, count]) => ({ inside, outside, count }));
}

export const uidMap = (): readonly NamespaceRange[] => readMap('uid_map');

/** Every ID of the machine has a meaning here: the initial namespace, or one that is like it. */
const isComplete = (map: readonly NamespaceRange[]): boolean =>
  map.length === 1 && map[0].inside === 0 && map[0].count === 0xffff_ffff;

/** What stat(2) shows here for an ID without a meaning (/proc/sys/kernel/overflowuid). */
export interface Overflow {
  readonly uid: number;
  readonly gid: number;
  /** It is also somebody's ID here, so the number alone does not tell. */
  readonly uidUsed: boolean;
  readonly gidUsed: boolean;
}

/** Undefined in the initial namespace, where every ID has a meaning. */
export function overflowIds(): Overflow | undefined {
  const [uids, gids] = [uidMap(), readMap('gid_map')];
  if (isComplete(uids) && isComplete(gids)) return undefined;
  const number = (kind: string): number =>
    Number(readFileSync(`/proc/sys/kernel/overflow${kind}`, 'latin1'));
  const [uid, gid] = [number('uid'), number('gid')];
  return { uid, gid, uidUsed: includes(uids, uid), gidUsed: includes(gids, gid) };
}

const includes = (map: readonly NamespaceRange[], id: number): boolean =>
  map.some(({ inside, count }) => id >= inside && id < inside + count);

/** The initial user namespace (PROC_USER_INIT_INO of include/linux/proc_ns.h). */
const INITIAL = 'user:[4026531837]';

/** Bits of CapEff (capabilities(7)). */
export const CAP_FSETID = 4;
export const CAP_SYS_ADMIN = 21;

/** What /proc/PID/status says of one effective capability; none in an empty text. */
export function hasCapability(status: string, bit: number): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return ((effective >> BigInt(bit)) & 1n) === 1n;
}

/** This process has CAP_SYS_ADMIN in the initial user namespace, which is what capable() asks for. */
export function administersMachine(): boolean {
  const status = readFileSync('/proc/self/status', 'latin1');
  return readlinkSync('/proc/self/ns/user') === INITIAL && hasCapability(status, CAP_SYS_ADMIN);
}
