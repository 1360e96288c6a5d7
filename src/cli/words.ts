/**
 * The commands of the store, by their first word. native/launcher_words.h has the same words: the
 * launcher leaves these to Node whatever their flags.
 */
import { dispatch, takeGlobals, type Words } from './frame/command.js';

export const WORDS: Words = {
  snapshotter: async () => (await import('./snapshotter.js')).snapshotter,
  'volume-plugin': async () => (await import('./volumePlugin.js')).volumePlugin,
};

/** Flags of the store may stand before the command: `stratafs --root DIR images`. */
const GLOBAL = /^--(root|no-sync)(=|$)/;

/** What runs `args`, when they are a command of the store. */
export function storeCommand(args: readonly string[]): (() => Promise<number>) | undefined {
  if (args.length === 0) return undefined;
  const { globals, rest } = GLOBAL.test(args[0]) ? takeGlobals(args) : { globals: {}, rest: args };
  const word = rest.at(0);
  if (word === undefined || !Object.hasOwn(WORDS, word)) return undefined;
  return () => dispatch(WORDS, rest, globals);
}
