/**
 * The commands of the store, by their first word. native/launcher_words.h has the same words: the
 * launcher leaves these to Node whatever their flags.
 */
import { type Command, dispatch, type Group, takeGlobals, type Words } from './frame/command.js';
import { installCommand, type Target, uninstallCommand } from './install/target.js';

const pull = async () => (await import('./images/pull.js')).default;
const push = async () => (await import('./images/push.js')).default;
const load = async () => (await import('./images/load.js')).default;
const save = async () => (await import('./images/save.js')).default;
const tag = async () => (await import('./images/tag.js')).default;
const history = async () => (await import('./images/history.js')).default;
const images = async () => (await import('./images/ls.js')).default;
const importImage = async () => (await import('./images/import.js')).default;
const removeImages = async () => (await import('./images/rm.js')).default;

const image: Group = {
  about: 'Manage images',
  words: {
    history,
    import: importImage,
    inspect: async () => (await import('./images/inspect.js')).default,
    load,
    ls: images,
    list: images,
    prune: async () => (await import('./images/prune.js')).default,
    pull,
    push,
    rm: removeImages,
    remove: removeImages,
    save,
    tag,
    tree: async () => (await import('./images/tree.js')).default,
  },
};

const layer: Group = {
  about: 'Manage layers',
  words: {
    inspect: async () => (await import('./layers/inspect.js')).default,
    ls: async () => (await import('./layers/ls.js')).default,
    repair: async () => (await import('./layers/repair.js')).default,
    verify: async () => (await import('./layers/verify.js')).default,
  },
};

/** A file of install/ for each target; the same words in both. */
const targets = {
  service: async () => (await import('./install/service.js')).service,
};

const words = (make: (target: Target) => Command): Words =>
  Object.fromEntries(
    Object.entries(targets).map(([word, load]) => [word, async () => make(await load())]),
  );

const install: Group = {
  about: 'Set stratafs up: a target is a program that uses it, or runs it',
  words: words(installCommand),
};

const uninstall: Group = {
  about: 'Undo what stratafs install TARGET did',
  words: words(uninstallCommand),
};

export const WORDS: Words = {
  explore: async () => (await import('./explore/explore.js')).default,
  fsck: async () => (await import('./fsck.js')).default,
  gc: async () => (await import('./gc.js')).default,
  history,
  image: () => Promise.resolve(image),
  images,
  import: importImage,
  install: () => Promise.resolve(install),
  layer: () => Promise.resolve(layer),
  load,
  pull,
  push,
  rmi: removeImages,
  save,
  snapshotter: async () => (await import('./snapshotter.js')).snapshotter,
  tag,
  uninstall: () => Promise.resolve(uninstall),
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
