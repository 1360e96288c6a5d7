/**
 * Starts the host, and in a worker an engine thread of it, from the bundle with its compiled form
 * (bundle.js). Where there is none, or the modules are newer, as after `tsc` alone, the host is
 * started from the modules: slower, otherwise the same.
 */
const fs = process.getBuiltinModule('node:fs');
const { Script } = process.getBuiltinModule('node:vm');
const { isMainThread } = process.getBuiltinModule('node:worker_threads');

/** Characters of the name that a bundle and its cache share. */
const ID = 32;

type Program = (
  require: NodeJS.Require,
  module: { exports: object },
  exports: object,
  __filename: string,
  __dirname: string,
) => void;

/** The program in `file`; undefined when there is none, or an older one than the modules. */
function load(file: string): Program | undefined {
  let source: string;
  let cache: Buffer;
  try {
    if (fs.statSync(file).mtimeMs < fs.statSync(__filename).mtimeMs) return undefined;
    source = fs.readFileSync(file, 'latin1');
    cache = fs.readFileSync(`${file}.cache`);
  } catch {
    return undefined;
  }
  const own = source.endsWith(cache.latin1Slice(0, ID));
  const script = new Script(source, {
    filename: file,
    // What V8 cannot use, as it is another version's, it leaves alone.
    ...(own ? { cachedData: cache.subarray(ID) } : {}),
  });
  return script.runInThisContext() as Program;
}

const name = isMainThread ? 'host' : 'engine';
const program = load(`${__dirname}/${name}.bundle`);
if (program) {
  const exports = {};
  program(require, { exports }, exports, __filename, __dirname);
} else {
  const entry = isMainThread ? './hostMain.js' : '../fuse/engineThread.js';
  void import(entry);
}
