/** The types for `require`: those of index.d.ts. */
import type * as Library from './index.js' with { 'resolution-mode': 'import' };

export declare const attach: typeof Library.attach;
export declare const diff: typeof Library.diff;
export declare const mount: typeof Library.mount;
export declare const mounts: typeof Library.mounts;
export declare const mountTemp: typeof Library.mountTemp;
export declare const StratafsError: typeof Library.StratafsError;
export declare const unmount: typeof Library.unmount;

export type Change = Library.Change;
export type End = Library.End;
export type FailureCode = Library.FailureCode;
export type IdMapping = Library.IdMapping;
export type Mount = Library.Mount;
export type MountEntry = Library.MountEntry;
export type MountOptions = Library.MountOptions;
export type MountSettings = Library.MountSettings;
export type MountStats = Library.MountStats;
export type Path = Library.Path;
export type StratafsError = Library.StratafsError;
export type TempOptions = Library.TempOptions;
