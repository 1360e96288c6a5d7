/**
 * The commands, by their first word. native/launcher_words.h has those of the store, too: the launcher
 * leaves these to Node whatever their flags. To add a command of the store, add it to WORDS.
 */
import { display } from '../base/bytes.js';
import { UsageError, UserError } from '../base/errno.js';
import { absolute } from '../options/list.js';
import { nearest } from '../options/nearest.js';
import { workingDirectory } from '../wire/sockets.js';
import { type Command, dispatch, type Group, takeGlobals, type Words } from './frame/command.js';
import { print } from './frame/output.js';
import { namesContainer } from './containers/named.js';
import { installCommand, type Target, uninstallCommand } from './install/target.js';

const build = async () => (await import('./builds/build.js')).default;
const commit = async () => (await import('./builds/commit.js')).default;
const pull = async () => (await import('./images/pull.js')).default;
const push = async () => (await import('./images/push.js')).default;
const load = async () => (await import('./images/load.js')).default;
const save = async () => (await import('./images/save.js')).default;
const tag = async () => (await import('./images/tag.js')).default;
const history = async () => (await import('./images/history.js')).default;
const images = async () => (await import('./images/ls.js')).default;
const importImage = async () => (await import('./images/import.js')).default;
const removeImages = async () => (await import('./images/rm.js')).default;

const containerWords: Words = {
  attach: async () => (await import('./containers/attach.js')).default,
  cp: async () => (await import('./containers/cp.js')).default,
  create: async () => (await import('./containers/create.js')).default,
  exec: async () => (await import('./containers/exec.js')).default,
  export: async () => (await import('./containers/export.js')).default,
  kill: async () => (await import('./containers/kill.js')).default,
  pause: async () => (await import('./containers/pause.js')).default,
  port: async () => (await import('./containers/port.js')).default,
  ps: async () => (await import('./containers/ps.js')).default,
  rename: async () => (await import('./containers/rename.js')).default,
  restart: async () => (await import('./containers/restart.js')).default,
  rm: async () => (await import('./containers/rm.js')).default,
  run: async () => (await import('./containers/run.js')).default,
  start: async () => (await import('./containers/start.js')).default,
  stop: async () => (await import('./containers/stop.js')).default,
  top: async () => (await import('./containers/top.js')).default,
  unpause: async () => (await import('./containers/unpause.js')).default,
  update: async () => (await import('./containers/update.js')).default,
  wait: async () => (await import('./containers/wait.js')).default,
};

const containerDiff = async () => (await import('./containers/diff.js')).default;
const containerLogs = async () => (await import('./containers/logs.js')).default;
const containerStats = async () => (await import('./containers/stats.js')).default;

const container: Group = {
  about: 'Manage containers',
  words: {
    ...containerWords,
    commit,
    cleanup: async () => (await import('./containers/cleanup.js')).default,
    diff: containerDiff,
    inspect: async () => (await import('./containers/inspect.js')).default,
    list: async () => (await import('./containers/ps.js')).default,
    logs: containerLogs,
    ls: async () => (await import('./containers/ps.js')).default,
    prune: async () => (await import('./containers/prune.js')).default,
    remove: async () => (await import('./containers/rm.js')).default,
    stats: containerStats,
  },
};

/** What these words mean when a container is named; else they are about mounts and hosts. */
const BOTH: Words = { diff: containerDiff, logs: containerLogs, stats: containerStats };

const volume: Group = {
  about: 'Manage volumes',
  words: {
    create: async () => (await import('./volumes/create.js')).default,
    export: async () => (await import('./volumes/export.js')).default,
    import: async () => (await import('./volumes/import.js')).default,
    inspect: async () => (await import('./volumes/inspect.js')).default,
    list: async () => (await import('./volumes/ls.js')).default,
    ls: async () => (await import('./volumes/ls.js')).default,
    prune: async () => (await import('./volumes/prune.js')).default,
    remove: async () => (await import('./volumes/rm.js')).default,
    rm: async () => (await import('./volumes/rm.js')).default,
  },
};

const image: Group = {
  about: 'Manage images',
  words: {
    history,
    build,
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

const builder: Group = {
  about: 'Build images, and manage the cache of builds',
  words: { build, prune: async () => (await import('./builds/prune.js')).default },
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
  apptainer: async () => (await import('./install/apptainer.js')).apptainer,
  containerd: async () => (await import('./install/containerd.js')).containerd,
  docker: async () => (await import('./install/docker.js')).docker,
  k3s: async () => (await import('./install/k3s.js')).k3s,
  podman: async () => (await import('./install/podman.js')).podman,
  service: async () => (await import('./install/service.js')).service,
};

const words = (make: (target: Target) => Command): Words =>
  Object.fromEntries(
    Object.entries(targets).map(([word, load]) => [word, async () => make(await load())]),
  );

const install: Group = {
  about: 'Set stratafs up: a target is a program that uses it, or runs it',
  plain: true,
  words: words(installCommand),
};

const uninstall: Group = {
  about: 'Undo what stratafs install TARGET did',
  plain: true,
  words: words(uninstallCommand),
};

export const WORDS: Words = {
  commit,
  build,
  builder: () => Promise.resolve(builder),
  ...containerWords,
  container: () => Promise.resolve(container),
  explore: async () => (await import('./explore/explore.js')).default,
  fsck: async () => (await import('./fsck.js')).default,
  gc: async () => (await import('./gc.js')).default,
  history,
  image: () => Promise.resolve(image),
  images,
  import: importImage,
  inspect: async () => (await import('./containers/inspectAny.js')).default,
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
  volume: () => Promise.resolve(volume),
  'volume-plugin': async () => (await import('./volumePlugin.js')).volumePlugin,
};

/** The commands about mounts and hosts, and those about stratafs itself. */
const PLAIN: Words = {
  bench: async () => (await import('./bench.js')).bench,
  completion: async () => (await import('./completion.js')).completion,
  diff: async () => (await import('./diff.js')).diff,
  doctor: async () => (await import('./doctor/doctor.js')).doctor,
  help: async () => (await import('./help.js')).help,
  host: async () => (await import('./host.js')).host,
  logs: async () => (await import('./logs.js')).logs,
  mount: async () => (await import('./mount.js')).mount,
  mounts: async () => (await import('./mounts.js')).mounts,
  stats: async () => (await import('./stats.js')).stats,
  umount: async () => (await import('./unmount.js')).unmount,
  unmount: async () => (await import('./unmount.js')).unmount,
};

/** Every command. */
export const ALL_WORDS: Words = { ...PLAIN, ...WORDS };

/** How the help groups the commands; what is in no group here comes under the store. */
export const SECTIONS: Readonly<Record<string, readonly string[]>> = {
  Mounts: ['mount', 'unmount', 'diff', 'mounts', 'stats'],
  'This machine': ['doctor', 'logs', 'host', 'bench', 'install', 'uninstall', 'completion', 'help'],
  Servers: ['snapshotter', 'volume-plugin'],
};

/** Other names of a command, which the help leaves out. */
export const ALIASES: readonly string[] = ['umount'];

/** Flags of the store may stand before the command: `stratafs --root DIR images`. */
const GLOBAL = /^--(root|no-sync)(=|$)/;

const isMount = (args: readonly string[]): boolean =>
  args.some((arg) => /^(-[a-z]*o|--options)/.test(arg));

/** Short flags that mean something only to a mount. */
const MOUNT_FLAGS = /^(-[nsvfdt]|--(foreground|debug|type|no-mtab|sloppy|verbose)(=|$))/;

/**
 * What runs `args`, when they are a command; undefined when they ask for a mount: a mount has -o, so
 * that its source or mount point may be called like a command. Throws UsageError for what is neither.
 */
export function commandOf(args: readonly string[]): (() => Promise<number>) | undefined {
  const { globals, rest } = GLOBAL.test(args.at(0) ?? '')
    ? takeGlobals(args)
    : { globals: {}, rest: args };
  const word = rest.at(0) ?? '';
  const run = (words: Words) => () => dispatch(words, rest, globals);
  if (Object.hasOwn(WORDS, word)) return run(WORDS);
  if (Object.hasOwn(BOTH, word) && namesContainer(rest)) {
    return () => orNothing(run(BOTH), rest);
  }
  if (isMount(rest)) return undefined;
  if (Object.hasOwn(PLAIN, word)) return run(PLAIN);
  if (word === '-h' || word === '--help') return () => dispatch(PLAIN, ['help'], globals);
  if (word === '-V' || word === '--version') return version;
  if (word !== '' && MOUNT_FLAGS.test(word)) return undefined;
  throw new UsageError(unknown(word));
}

/** Who named neither a container nor a directory may have meant either. */
async function orNothing(act: () => Promise<number>, args: readonly string[]): Promise<number> {
  try {
    return await act();
  } catch (error) {
    const name = args.slice(1).find((arg) => !arg.startsWith('-'));
    if (!(error instanceof UserError) || name === undefined) throw error;
    if (!error.message.startsWith('No such container')) throw error;
    const path = absolute(name, workingDirectory());
    throw new UserError(`${error.message}, and no such file or directory: ${display(path)}`);
  }
}

async function version(): Promise<number> {
  print((await import('./help.js')).versionText());
  return 0;
}

/** Why `word`, without any option of a mount, is nothing. */
function unknown(word: string): string {
  if (word === '') return 'no command and nothing to mount: see stratafs --help';
  const shown = display(word);
  const near = nearest(word, Object.keys(ALL_WORDS));
  if (near !== undefined) return `'${shown}' is no command: did you mean ${near}?`;
  if (word.startsWith('-')) return `unknown option '${shown}': see stratafs --help`;
  return `'${shown}' is no command, and a mount needs options: stratafs -o lowerdir=A[:B...] MNT; see stratafs --help`;
}
