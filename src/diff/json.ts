/** A change as JSON and programs have it: paths as text, and the bytes where these are no text. */
import { display } from '../base/bytes.js';
import type { Change } from './diff.js';

/** One changed path. */
export interface ChangeJson {
  /** Added, changed or deleted. */
  readonly kind: 'A' | 'C' | 'D';
  /** From the root of the mount; where the name is not valid UTF-8 its other bytes are written \\xNN. */
  readonly path: string;
  /** The exact bytes, only where `path` is not them. */
  readonly pathBase64?: string;
  /** Bytes of a regular file that is there now. */
  readonly size?: number;
}

export function changeJson({ kind, path, size }: Change, sizes: boolean): ChangeJson {
  const bytes = Buffer.from(path, 'latin1');
  const text = display(path);
  const more = sizes && size !== undefined ? { size } : {};
  return Buffer.from(text, 'utf8').equals(bytes)
    ? { kind, path: text, ...more }
    : { kind, path: text, pathBase64: bytes.toString('base64'), ...more };
}
