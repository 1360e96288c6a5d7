/** The tables of src/protocol/layout.ts and src/sys/memory.ts against what the compiler says. */
import { describe, expect, it } from 'vitest';
import * as layout from '../../../src/protocol/layout.js';
import * as memory from '../../../src/sys/memory.js';
import * as tally from '../../../src/sys/tally.js';
import { loadNative } from '../../../src/sys/native.js';

const compiled = loadNative().layout();

type Table = Readonly<Record<string, number>>;
const tables = Object.entries<number | Table>(layout).filter(
  (entry): entry is [string, Table] => typeof entry[1] === 'object',
);

/** `size_` is the struct's own field of that name; `size` alone is the struct's size. */
function compiledRow(struct: string, field: string): string {
  return field === 'size' ? struct : `${struct}.${field.replace(/_$/, '')}`;
}

describe('layout tables', () => {
  it('has a table for every struct an engine reads or writes', () => {
    expect(tables.length).toBeGreaterThan(35);
  });

  it.each(tables)('%s is what the header says', (name, table) => {
    const struct = name.toLowerCase();
    const expected: Record<string, number | undefined> = {};
    for (const field of Object.keys(table)) {
      const row = compiledRow(struct, field);
      // A fuse_dirent ends in its name: sizeof and offsetof(name) are the same.
      expected[field] = compiled[row];
    }
    expect(table).toEqual(expected);
  });

  it('takes the short form of fuse_setxattr_in to end before setxattr_flags', () => {
    expect(layout.COMPAT_SETXATTR_IN_SIZE).toBe(compiled['setxattr_in.setxattr_flags']);
  });
});

describe('struct statx', () => {
  it.each(Object.entries(layout.STATX))('has %s where fuse_statx has it', (field, offset) => {
    const own = field === 'size' ? 'sys_statx' : `sys_statx.stx_${field.replace(/_$/, '')}`;
    expect(compiled[own]).toBe(offset);
  });

  it('keeps a time as 8 bytes of seconds and 4 of nanoseconds, as fuse_sx_time', () => {
    for (const struct of ['sx_time', 'sys_statx_timestamp']) {
      expect(compiled[`${struct}.tv_sec`]).toBe(0);
      expect(compiled[`${struct}.tv_nsec`]).toBe(8);
      expect(compiled[struct]).toBe(16);
    }
  });
});

it('finds in the counters what the session counts there', () => {
  for (const [name, value] of Object.entries(tally)) expect(compiled[`tally.${name}`]).toBe(value);
});

describe('shared memory', () => {
  it.each(['MAX_IO', 'IN', 'IN_SIZE', 'OUT', 'OUT_SIZE', 'SCRATCH', 'SCRATCH_SIZE'] as const)(
    'has %s where the addon has it',
    (name) => {
      expect(compiled[`memory.${name}`]).toBe(memory[name]);
    },
  );

  it('is as large as the addon makes it', () => {
    expect(compiled['memory']).toBe(memory.MEMORY_SIZE);
    expect(loadNative().memory.byteLength).toBe(memory.MEMORY_SIZE);
  });

  it('has regions that do not overlap and hold the largest request and reply', () => {
    const { IN, IN_SIZE, OUT, OUT_SIZE, SCRATCH, SCRATCH_SIZE, MAX_IO } = memory;
    expect(IN + IN_SIZE).toBeLessThanOrEqual(OUT);
    expect(OUT + OUT_SIZE).toBeLessThanOrEqual(SCRATCH);
    expect(SCRATCH + SCRATCH_SIZE).toBeLessThanOrEqual(memory.MEMORY_SIZE);
    // FUSE_MIN_READ_BUFFER is 8 KiB; a WRITE needs its payload and two headers.
    expect(IN_SIZE).toBeGreaterThanOrEqual(MAX_IO + 4096);
    expect(OUT_SIZE).toBeGreaterThanOrEqual(MAX_IO + layout.OUT_HEADER.size);
  });
});
