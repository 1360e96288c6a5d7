/** Names and texts that come from layers, for people's eyes. */
import { display } from '../../base/bytes.js';

/**
 * What could move a cursor, answer for the terminal or turn the line around: control characters, those of
 * the bidirectional algorithm, and separators of lines.
 */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

const escaped = (character: string): string => {
  const code = character.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`;
};

/** A text without anything that a terminal obeys. */
export const safeText = (text: string): string => text.replace(UNSAFE, escaped);

/** A name of bytes (latin1), as `safeText`. */
export const safeName = (name: string): string => safeText(display(name));
