/** Tar archives made by hand, so that each part of them can be wrong. Uses no code of src/archive. */

export interface Member {
  readonly name: string;
  /** The type's letter; a regular file when absent. */
  readonly type?: string;
  readonly target?: string;
  readonly data?: string | Buffer;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly major?: number;
  readonly minor?: number;
  /** The size the header tells, when it is not that of the data. */
  readonly size?: number;
  /** Records of an extended header before it. */
  readonly pax?: Readonly<Record<string, string>>;
  readonly magic?: string;
  readonly prefix?: string;
  /** Changes the finished header; its checksum is made afterwards. */
  readonly patch?: (header: Buffer) => void;
  /** Added to the checksum. */
  readonly sumError?: number;
}

const octal = (value: number, length: number): string =>
  `${Math.max(0, value)
    .toString(8)
    .padStart(length - 1, '0')
    .slice(-(length - 1))}\0`;

export function header(member: Member, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(member.name.slice(0, 100), 0, 'latin1');
  block.write(octal(member.mode ?? 0o644, 8), 100, 'latin1');
  block.write(octal(member.uid ?? 0, 8), 108, 'latin1');
  block.write(octal(member.gid ?? 0, 8), 116, 'latin1');
  block.write(octal(member.size ?? size, 12), 124, 'latin1');
  block.write(octal(member.mtime ?? 1_600_000_000, 12), 136, 'latin1');
  block.write(member.type ?? '0', 156, 'latin1');
  block.write((member.target ?? '').slice(0, 100), 157, 'latin1');
  block.write(member.magic ?? 'ustar\x0000', 257, 'latin1');
  block.write(octal(member.major ?? 0, 8), 329, 'latin1');
  block.write(octal(member.minor ?? 0, 8), 337, 'latin1');
  block.write(member.prefix ?? '', 345, 'latin1');
  member.patch?.(block);
  return summed(block, member.sumError ?? 0);
}

function summed(block: Buffer, error: number): Buffer {
  block.write('        ', 148, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0) + error;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

export const padded = (data: Buffer): Buffer =>
  Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);

export function paxData(records: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length++;
    return String(length) + rest;
  });
  return Buffer.from(lines.join(''), 'latin1');
}

export function member(one: Member): Buffer {
  const data = Buffer.isBuffer(one.data) ? one.data : Buffer.from(one.data ?? '', 'latin1');
  const own = Buffer.concat([header(one, data.length), padded(data)]);
  if (!one.pax) return own;
  const extended = paxData(one.pax);
  return Buffer.concat([
    header({ name: 'pax', type: 'x' }, extended.length),
    padded(extended),
    own,
  ]);
}

export const END = Buffer.alloc(1024);

export const tarball = (members: readonly Member[]): Buffer =>
  Buffer.concat([...members.map(member), END]);

/** The bytes in pieces of `size`. */
export async function* pieces(bytes: Buffer, size = bytes.length): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += Math.max(1, size)) {
    yield bytes.subarray(at, at + Math.max(1, size));
    await Promise.resolve();
  }
}
