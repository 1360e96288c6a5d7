/** The part of fuse-native that the union uses; the package ships no types. */
declare module 'fuse-native' {
  import type { Stats } from 'node:fs';
  /** A negative errno, or for read and write the number of bytes. */
  type Done<T = never> = (result: number, value?: T) => void;
  interface Statfs {
    bsize: number;
    frsize: number;
    blocks: number;
    bfree: number;
    bavail: number;
    files: number;
    ffree: number;
    favail: number;
    namemax: number;
  }
  interface Operations {
    getattr(path: string, done: Done<Stats>): void;
    fgetattr(path: string, fd: number, done: Done<Stats>): void;
    statfs(path: string, done: Done<Statfs>): void;
    readdir(path: string, done: Done<string[]>): void;
    readlink(path: string, done: Done<string>): void;
    open(path: string, flags: number, done: Done<number>): void;
    create(path: string, mode: number, done: Done<number>): void;
    read(path: string, fd: number, buffer: Buffer, size: number, at: number, done: Done): void;
    write(path: string, fd: number, buffer: Buffer, size: number, at: number, done: Done): void;
    release(path: string, fd: number, done: Done): void;
    fsync(path: string, dataOnly: boolean, fd: number, done: Done): void;
    truncate(path: string, size: number, done: Done): void;
    ftruncate(path: string, fd: number, size: number, done: Done): void;
    /** Times in milliseconds. */
    utimens(path: string, atime: number, mtime: number, done: Done): void;
    chmod(path: string, mode: number, done: Done): void;
    chown(path: string, uid: number, gid: number, done: Done): void;
    mkdir(path: string, mode: number, done: Done): void;
    rmdir(path: string, done: Done): void;
    unlink(path: string, done: Done): void;
    rename(from: string, to: string, done: Done): void;
    link(from: string, to: string, done: Done): void;
    symlink(target: string, path: string, done: Done): void;
  }
  interface Options {
    fsname?: string;
    defaultPermissions?: boolean;
    kernelCache?: boolean;
    entryTimeout?: number;
    attrTimeout?: number;
    timeout?: number | false;
  }
  export default class Fuse {
    constructor(mountpoint: string, operations: Operations, options: Options);
    mount(done: (error: Error | null) => void): void;
  }
}
