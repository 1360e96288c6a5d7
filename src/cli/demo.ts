/**
 * `npm start`: without arguments the story of an image, its containers and what they change
 * (demoStory.ts); with `--layers` a union of three small layers and what the mount did; with layers
 * (topmost first) an interactive shell in their union.
 * Whatever happens, nothing stays mounted and the temporary directory goes.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { UserError } from '../base/errno.js';
import { Sys } from '../sys/sys.js';
import { makeLayers } from './demoLayers.js';
import { Report } from './demoReport.js';
import { interactive, stratafs } from './demoShell.js';
import { missingForContainers, story } from './demoStory.js';
import { showHidden, showOrigins, showScript, showUpper } from './demoTour.js';

/** A mount in a temporary directory of its own. */
interface Union {
  readonly mountpoint: string;
  readonly upper: string;
}

/** `\`, `:` and `,` mean something in a list of layers. */
const escaped = (path: string): string => path.replace(/[\\:,]/g, '\\$&');

async function mountUnion(
  dir: string,
  lowers: readonly string[],
  stop: AbortSignal,
): Promise<Union & { readonly ms: number }> {
  const [upper, work, mountpoint] = ['upper', 'work', 'root'].map((name) => `${dir}/${name}`);
  for (const path of [upper, work, mountpoint]) mkdirSync(path);
  const options = `lowerdir=${lowers.map(escaped).join(':')},upperdir=${upper},workdir=${work}`;
  const { ms } = await stratafs(['-o', options, mountpoint], stop);
  return { mountpoint, upper, ms };
}

/** Unmounts if it is mounted, at once where somebody still sits in it. Returns the time it took. */
async function unmountUnion(dir: string): Promise<number> {
  const mountpoint = `${dir}/root`;
  if (!readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${mountpoint} `)) return 0;
  const never = new AbortController().signal;
  try {
    return (await stratafs(['unmount', mountpoint], never)).ms;
  } catch {
    // Busy: a program that the shell left behind sits in it. It keeps what it has open.
    return (await stratafs(['unmount', '--lazy', mountpoint], never)).ms;
  }
}

/** Runs `body` with a temporary directory; ends a mount in it and removes it in every case. */
async function inTemporary(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(`${tmpdir()}/stratafs-demo-`);
  try {
    await body(dir);
  } finally {
    await unmountUnion(dir);
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The tour: three layers, an upper, a script inside, and what became of it. */
async function tour(stop: AbortSignal): Promise<void> {
  const report = new Report();
  const sys = new Sys();
  await inTemporary(async (dir) => {
    const started = performance.now();
    const layers = await makeLayers(sys, dir, stop);
    report.line('stratafs: three layers and an upper become one root file system');
    report.heading('Layers made, topmost first', performance.now() - started);
    report.table(layers.map(({ name, about }) => [name, about]));

    const union = await mountUnion(
      dir,
      layers.map((layer) => layer.path),
      stop,
    );
    report.heading('Mounted', union.ms);
    report.line('  stratafs -o lowerdir=changes:config:base,upperdir=upper,workdir=work root');
    showOrigins(report, sys, layers);
    showHidden(report, sys, layers);
    const failed = await showScript(report, union.mountpoint, stop);
    await showUpper(report, sys, layers, union, stop);
    report.heading('Unmounted', await unmountUnion(dir));
    report.line('  The layers are as they were; all changes were in the upper.');
    if (failed > 0) {
      throw new UserError(`${failed} of the steps inside the union failed: see their output above`);
    }
  });
}

/** A shell in the union of the given layers. */
async function shellIn(layers: readonly string[], stop: AbortSignal): Promise<void> {
  await inTemporary(async (dir) => {
    const { mountpoint } = await mountUnion(
      dir,
      layers.map((layer) => resolve(layer)),
      stop,
    );
    const what = layers.length === 1 ? 'one layer' : `${layers.length} layers`;
    process.stdout.write(`The union of ${what} and a temporary upper; exit to unmount it.\n`);
    await interactive(mountpoint, stop);
    const diff = (await stratafs(['diff', mountpoint], stop)).output;
    process.stdout.write(diff === '' ? 'Nothing was changed.\n' : `What you changed:\n${diff}`);
  });
}

const LAYERS = '--layers';

/** The story; where there is no runtime for containers, the tour of a union, and what is missing. */
async function tell(stop: AbortSignal): Promise<void> {
  const missing = missingForContainers();
  if (missing !== undefined) {
    process.stdout.write(
      `Containers need ${missing} (apt-get install ${missing}): here is the union alone.\n\n`,
    );
    return tour(stop);
  }
  await inTemporary((dir) => story(new Report(), dir, stop));
}

async function main(args: readonly string[]): Promise<void> {
  if (process.geteuid?.() !== 0) {
    throw new UserError('npm start makes whiteouts and a chroot, which needs root: run it as root');
  }
  const flag = args.find((arg) => arg.startsWith('-') && arg !== LAYERS);
  if (flag !== undefined) {
    throw new UserError(
      `unknown option ${flag}: give layers, topmost first, ${LAYERS}, or nothing`,
    );
  }
  const stopping = new AbortController();
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopping.abort());
  if (args.length > 0 && !args.includes(LAYERS)) {
    // Ctrl-C is the shell's; it must not end the process that unmounts.
    process.on('SIGINT', () => undefined);
    await shellIn(args, stopping.signal);
  } else {
    process.once('SIGINT', () => stopping.abort());
    await (args.includes(LAYERS) ? tour(stopping.signal) : tell(stopping.signal));
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  process.stderr.write(`stratafs: ${error.message}\n`);
  process.exitCode = 1;
}
