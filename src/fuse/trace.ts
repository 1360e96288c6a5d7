/** Formats what --debug prints of a request besides opcode and node: its names and its important numbers. */
import { display } from '../base/bytes.js';
import { namesAt, type Opcode } from './opcodes.js';
import { nameAt, type Served } from './served.js';

export function trace(s: Served, opcode: Opcode): string {
  let text = '';
  let at = namesAt(s, opcode);
  for (let left = opcode.names; left > 0; left--) {
    const name = nameAt(s, at);
    text += ` "${display(name)}"`;
    at += name.length + 1;
  }
  return text + (opcode.detail?.(s) ?? '');
}
