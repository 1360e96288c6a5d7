/**
 * Starts the host, and in a worker an engine thread of it, from the bundle with its compiled form
 * (bundle.js). Where there is none, or the modules are newer, as after `tsc` alone, the host is
 * started from the modules: slower, otherwise the same.
 */
// Debian 12 has Node 18 in /usr/bin. (Node 20.16 is the first that has this.)
if (!('getBuiltinModule' in process)) {
  const { execPath, version } = process as NodeJS.Process;
  console.error(
    `${execPath} is ${version}, stratafs needs Node 20.19, 22.12, or 24 and later: set STRATAFS_NODE to one`,
  );
  (process as NodeJS.Process).exit(1);
}
const fs = process.getBuiltinModule('node:fs');
const { Script } = process.getBuiltinModule('node:vm');
const threads = process.getBuiltinModule('node:worker_threads');
const { Worker, isMainThread } = threads;

/** Characters of the name that a bundle and its cache share. */
const ID = 32;
/** As in engineEntry.ts, which says why. */
const LIMITS = { maxYoungGenerationSizeMb: 6 };

/**
 * Open files of this install, by /proc/self/fd names: engine threads that are started after an upgrade
 * has replaced the install still run what the host was started with. (environment data of workers)
 */
interface Kept {
  /** hostStart.cjs, as text, and where it was. */
  readonly start: string;
  readonly filename: string;
  readonly bundle: string;
  readonly cache: string | undefined;
}
const KEPT = 'stratafs-install';
const kept = threads.getEnvironmentData(KEPT) as unknown as Kept | undefined;

type Program = (
  require: NodeJS.Require,
  module: { readonly exports: object; readonly startEngine: () => InstanceType<typeof Worker> },
  exports: object,
  __filename: string,
  __dirname: string,
) => void;

/** There is a bundle, and not an older one than the modules, which a package has not. */
function usable(file: string): boolean {
  const bundle = fs.statSync(file, { throwIfNoEntry: false });
  if (!fs.existsSync(`${__dirname}/hostMain.js`)) return true;
  return bundle !== undefined && bundle.mtimeMs >= fs.statSync(__filename).mtimeMs;
}

/** A package has it for few versions of V8, and for its own architecture only. */
function cacheOf(file: string): string | undefined {
  const cache = `${file}.${process.versions.v8}.cache`;
  return fs.existsSync(cache) ? cache : undefined;
}

function load(file: string, read = file, cacheFile = cacheOf(file)): Program {
  const source = readWhole(read).latin1Slice();
  const cache = cacheFile === undefined ? undefined : readWhole(cacheFile);
  const own = cache !== undefined && source.endsWith(cache.latin1Slice(0, ID));
  const script = new Script(source, {
    filename: file,
    // What V8 cannot use it leaves alone.
    ...(own ? { cachedData: cache.subarray(ID) } : {}),
  });
  return script.runInThisContext() as Program;
}

/** Opened anew, as several threads read it. */
const readWhole = (file: string): Buffer => fs.readFileSync(file);

const keepOpen = (file: string): string => `/proc/self/fd/${fs.openSync(file, 'r')}`;

function keepInstall(engine: string): Kept {
  const cache = cacheOf(engine);
  const files: Kept = {
    start: fs.readFileSync(__filename, 'utf8'),
    filename: __filename,
    bundle: keepOpen(engine),
    cache: cache === undefined ? undefined : keepOpen(cache),
  };
  threads.setEnvironmentData(KEPT, files);
  return files;
}

function runHost(): void {
  const { start: source } = keepInstall(`${__dirname}/engine.bundle`);
  // A host needs an engine thread at once: it comes up while the host loads. What it says before it
  // is listened to waits for the event loop.
  const start = (): InstanceType<typeof Worker> =>
    new Worker(source, { eval: true, resourceLimits: LIMITS });
  let first: InstanceType<typeof Worker> | undefined = start();
  const startEngine = (): InstanceType<typeof Worker> => {
    const engine = first ?? start();
    first = undefined;
    return engine;
  };
  const exports = {};
  load(`${__dirname}/host.bundle`)(
    require,
    { exports, startEngine },
    exports,
    __filename,
    __dirname,
  );
}

function runEngine({ filename, bundle, cache }: Kept): void {
  const directory = filename.slice(0, filename.lastIndexOf('/'));
  const exports = {};
  const startEngine = (): never => {
    throw new Error('an engine thread starts no other');
  };
  load(`${directory}/engine.bundle`, bundle, cache)(
    require,
    { exports, startEngine },
    exports,
    filename,
    directory,
  );
}

if (kept !== undefined && !isMainThread) runEngine(kept);
else if (usable(`${__dirname}/host.bundle`)) runHost();
else void import('./hostMain.js');
