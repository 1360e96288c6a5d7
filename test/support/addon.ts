/** The addon in a test: a temporary directory, its descriptor, and views over the memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from '../../src/sys/constants.js';
import { SCRATCH } from '../../src/sys/memory.js';
import { loadNative, type Native } from '../../src/sys/native.js';

export interface Bench {
  readonly native: Native;
  /** The directory's path and an O_RDONLY descriptor of it. */
  readonly path: string;
  readonly dir: number;
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Where results land. */
  readonly at: number;
  /** Opens `name` of the directory; throws when it cannot. */
  open(name: string, flags?: number, mode?: number): number;
  /** Stores latin1 text at `at`, returns its length. */
  put(text: string): number;
  text(length: number): string;
  close(): void;
}

export function openBench(): Bench {
  const native = loadNative();
  const path = mkdtempSync(join(tmpdir(), 'stratafs-native-'));
  const dir = native.openat2(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, 0);
  if (dir < 0) throw new Error(`cannot open ${path}: errno ${-dir}`);
  const bytes = Buffer.from(native.memory);
  return {
    native,
    path,
    dir,
    bytes,
    view: new DataView(native.memory),
    at: SCRATCH,
    open(name, flags = O_RDONLY, mode = 0) {
      const fd = native.openat2(dir, name, flags, mode, 0);
      if (fd < 0) throw new Error(`cannot open ${name}: errno ${-fd}`);
      return fd;
    },
    put: (text) => bytes.write(text, SCRATCH, 'latin1'),
    text: (length) => bytes.toString('latin1', SCRATCH, SCRATCH + length),
    close() {
      native.close(dir);
      rmSync(path, { recursive: true, force: true });
    },
  };
}
