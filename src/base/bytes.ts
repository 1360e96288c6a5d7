/**
 * Names are bytes. A name is a latin1 string, one character a byte: every name survives, and strings compare,
 * hash and slice as bytes do.
 */

/** The bytes of a path given by a user or the environment (UTF-8 in JavaScript) as latin1. */
export const toLatin1 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

/** A latin1 name for people: UTF-8 where it is valid, `\xNN` for the other bytes. */
export function display(name: string): string {
  const bytes = Buffer.from(name, 'latin1');
  const text = bytes.toString('utf8');
  if (!text.includes('\ufffd')) return text;
  let out = '';
  for (const byte of bytes) {
    out +=
      byte >= 32 && byte < 127
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return out;
}

/**
 * Text for a terminal: control characters as \xNN. A name from a layer could move the cursor, or
 * answer for the terminal.
 */
export const withoutControls = (text: string): string =>
  text.replace(
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );

declare global {
  // Node's own fast paths behind buffer.toString('latin1') and buffer.write(…, 'latin1').
  interface Buffer {
    latin1Slice(start?: number, end?: number): string;
    latin1Write(text: string, offset?: number, length?: number): number;
  }
}
