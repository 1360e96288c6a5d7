/**
 * Starts the host, and in a worker an engine thread of it, from the bundle with its compiled form
 * (bundle.js). Where there is none, or the modules are newer, as after `tsc` alone, the host is
 * started from the modules: slower, otherwise the same.
 */
const fs = process.getBuiltinModule('node:fs');
const { Script } = process.getBuiltinModule('node:vm');
const { Worker, isMainThread } = process.getBuiltinModule('node:worker_threads');

/** Characters of the name that a bundle and its cache share. */
const ID = 32;
/** As in engineEntry.ts, which says why. */
const LIMITS = { maxYoungGenerationSizeMb: 6 };

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

function load(file: string): Program {
  const source = fs.readFileSync(file, 'latin1');
  // A package has it for few versions of V8, and for its own architecture only.
  const cacheFile = `${file}.${process.versions.v8}.cache`;
  const found = fs.existsSync(cacheFile);
  const cache = found ? fs.readFileSync(cacheFile) : Buffer.alloc(0);
  const own = found && source.endsWith(cache.latin1Slice(0, ID));
  const script = new Script(source, {
    filename: file,
    // What V8 cannot use it leaves alone.
    ...(own ? { cachedData: cache.subarray(ID) } : {}),
  });
  return script.runInThisContext() as Program;
}

function run(file: string): void {
  // A host needs an engine thread at once: it comes up while the host loads. What it says before it
  // is listened to waits for the event loop.
  const start = (): InstanceType<typeof Worker> =>
    new Worker(__filename, { resourceLimits: LIMITS });
  let first = isMainThread ? start() : undefined;
  const startEngine = (): InstanceType<typeof Worker> => {
    const engine = first ?? start();
    first = undefined;
    return engine;
  };
  const exports = {};
  load(file)(require, { exports, startEngine }, exports, __filename, __dirname);
}

const bundle = `${__dirname}/${isMainThread ? 'host' : 'engine'}.bundle`;
if (usable(bundle)) run(bundle);
else void import(isMainThread ? './hostMain.js' : '../fuse/engineThread.js');
