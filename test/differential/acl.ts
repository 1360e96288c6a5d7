/** A POSIX ACL as the kernel's xattr has it: entries of (tag, permissions, id). */
export function acl(...entries: readonly (readonly [number, number, number])[]): string {
  const bytes = Buffer.alloc(4 + entries.length * 8);
  bytes.writeUInt32LE(2, 0);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + index * 8);
    bytes.writeUInt16LE(permissions, 6 + index * 8);
    bytes.writeUInt32LE(id >>> 0, 8 + index * 8);
  }
  return bytes.toString('latin1');
}
