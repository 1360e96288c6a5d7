/** `explore`: what an image, a container or a mount is made of, layer by layer. */
import { openSync, closeSync, renameSync, unlinkSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { findMounted } from '../../client/find.js';
import { withLease } from '../../store/collect/work.js';
import { explore, type Explored } from '../../store/explore/explore.js';
import { containerSubject, imageSubject, mountSubject } from '../../store/explore/subject.js';
import { findContainer, listContainers } from '../../store/containers/records.js';
import { findImage } from '../../store/images/find.js';
import { hexOf } from '../../store/state/ids.js';
import { openStore, type Store } from '../../store/state/store.js';
import { bytes, errnoOf } from '../../sys/paths.js';
import { command } from '../frame/command.js';
import { print, printBytes } from '../frame/output.js';
import { exploredHtml } from './html.js';
import { exploredJson } from './json.js';
import { runTerminal } from './terminal.js';
import { exploredText } from './text.js';

/** A path, and no name of an image: `/mnt`, `./mnt`, `..`. */
const PATH = /^(\/|\.\.?(\/|$))/;

async function readContainer(store: Store, text: string): Promise<Explored> {
  const container = findContainer(store, text);
  return withLease(store, async (lease) => {
    await store.locked(() => {
      lease.keep(`containers/${container.id}`);
    });
    return explore(await containerSubject(store, container));
  });
}

async function readNamed(store: Store, text: string): Promise<Explored> {
  const id = findImage(store, text);
  if (id === undefined) {
    const isContainer = listContainers(store).some(
      (each) => each.name === text || each.id.startsWith(text),
    );
    if (isContainer) return readContainer(store, text);
    throw new UserError(
      `there is no image and no container ${text}: see stratafs images and ps -a; of a mount, write the path with a slash (./${text})`,
    );
  }
  return withLease(store, async (lease) => {
    await store.locked(() => {
      lease.keep(`images/${hexOf(id)}`);
    });
    return explore({ ...imageSubject(store, id), name: text });
  });
}

/** Writes a file whole, or leaves what was there. */
function writeWhole(path: string, pieces: Iterable<string>): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const fd = openSync(bytes(temporary), 'wx', 0o644);
    try {
      for (const piece of pieces) printBytes(Buffer.from(piece, 'utf8'), fd);
    } finally {
      closeSync(fd);
    }
    renameSync(bytes(temporary), bytes(path));
  } catch (error) {
    try {
      unlinkSync(bytes(temporary));
    } catch (gone) {
      // The file could not be made at all; the first error tells why.
      errnoOf(gone);
    }
    throw error;
  }
}

function output(path: string | undefined, pieces: Iterable<string>): void {
  if (path === undefined || path === '-') for (const piece of pieces) print(piece);
  else writeWhole(path, pieces);
}

export default command({
  usage: 'explore [OPTIONS] IMAGE|CONTAINER|MNT',
  about:
    'Show which layer gives each file, what hides what, wasted bytes and the largest changes; on a terminal with keys (? tells which)',
  args: [1, 1],
  flags: {
    files: { kind: 'bool', help: 'In the text: every file, with the layer that gives it' },
    html: { kind: 'bool', help: 'One page that needs nothing else' },
    json: { kind: 'bool', help: 'One JSON document, with every file' },
    output: { kind: 'path', short: 'o', help: 'Write to this file instead of standard output' },
    text: { kind: 'bool', help: 'Plain text also on a terminal' },
    top: { kind: 'int', help: 'Lines of each list (default 20)' },
  },
  async run({ values, given, args, rawArgs, globals }) {
    const top = values.top ?? (values.html || values.json ? 200 : 20);
    if (top < 0) throw new UserError('--top is a number of lines');
    if (values.html && values.json) throw new UserError('give --html or --json, not both');
    if (values.files && (values.html || values.json)) {
      throw new UserError('--files is for the text: --html and --json have every file');
    }
    const explored = PATH.test(args[0])
      ? explore(mountSubject(await findMounted(rawArgs[0])))
      : await readNamed(await openStore({ ...globals, create: false }), args[0]);
    if (values.html) output(values.output, exploredHtml(explored, top));
    else if (values.json) output(values.output, exploredJson(explored, top));
    else if (
      isInteractive(values.text || values.files || given.has('output') || given.has('top'))
    ) {
      await runTerminal(explored);
    } else output(values.output, [exploredText(explored, { top, files: values.files })]);
    return 0;
  },
});

const isInteractive = (wantsText: boolean): boolean =>
  !wantsText && process.stdin.isTTY && process.stdout.isTTY && process.env['TERM'] !== 'dumb';
