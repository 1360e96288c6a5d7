/** One line per request, for --debug. */
import { display } from '../base/bytes.js';
import { Op, opcodeName } from '../protocol/opcodes.js';
import {
  GETXATTR_IN,
  LINK_IN,
  MKDIR_IN,
  MKNOD_IN,
  READ_IN,
  RENAME2_IN,
  RENAME_IN,
  SETATTR_IN,
  SETXATTR_IN,
  WRITE_IN,
} from '../protocol/layout.js';
import { nameAt, type Served, word } from './served.js';

/** Where a request's first name lies in its body. */
const NAME_AT = new Map<number, number>([
  [Op.LOOKUP, 0],
  [Op.UNLINK, 0],
  [Op.RMDIR, 0],
  [Op.SYMLINK, 0],
  [Op.REMOVEXATTR, 0],
  [Op.MKNOD, MKNOD_IN.size],
  [Op.MKDIR, MKDIR_IN.size],
  [Op.RENAME, RENAME_IN.size],
  [Op.RENAME2, RENAME2_IN.size],
  [Op.LINK, LINK_IN.size],
  [Op.GETXATTR, GETXATTR_IN.size],
  [Op.SETXATTR, SETXATTR_IN.size],
]);

export function trace(s: Served, opcode: number, node: number): string {
  const at = NAME_AT.get(opcode);
  const name = at === undefined ? '' : ` "${display(nameAt(s, at))}"`;
  return `${opcodeName(opcode)} node ${node}${name}${detail(s, opcode)}`;
}

function detail(s: Served, opcode: number): string {
  const hex = (value: number): string => `0x${value.toString(16)}`;
  switch (opcode) {
    case Op.READ:
    case Op.READDIR:
    case Op.READDIRPLUS:
      return ` offset ${hex(offset(s, READ_IN.offset))} size ${word(s, READ_IN.size_)}`;
    case Op.WRITE:
      return ` offset ${hex(offset(s, WRITE_IN.offset))} size ${word(s, WRITE_IN.size_)}`;
    case Op.SETATTR:
      return ` valid ${hex(word(s, SETATTR_IN.valid))} mode ${word(s, SETATTR_IN.mode).toString(8)}`;
    default:
      return '';
  }
}

const offset = (s: Served, at: number): number => word(s, at) + word(s, at + 4) * 0x1_0000_0000;
