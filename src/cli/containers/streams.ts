/** Our standard streams joined to a container's, until it ends or the user leaves it. */
import { UserError } from '../../base/errno.js';
import { Attachment } from '../../store/containers/attach.js';
import { resizeTerminal, waitForExit } from '../../store/containers/monitor.js';
import { signalProcess } from '../../store/containers/process.js';
import type { ContainerState } from '../../store/containers/state.js';
import type { Store } from '../../store/state/store.js';
import { printBytes } from '../frame/output.js';

export interface JoinOptions {
  /** Our stdin is the container's. */
  readonly stdin: boolean;
  /** The container has a terminal. */
  readonly tty: boolean;
  /** Signals to us are sent to the container. */
  readonly proxy: boolean;
  /** As `parseKeys` makes it; empty: none. */
  readonly detachKeys: readonly number[];
}

const DEFAULT_KEYS = 'ctrl-p,ctrl-q';

/** `ctrl-p,ctrl-q`, `a,ctrl-x`: the bytes that leave a container. Throws UserError. */
export function parseKeys(text: string = DEFAULT_KEYS): number[] {
  if (text === '') return [];
  return text.split(',').map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    if (key.length === 1) return key.charCodeAt(0);
    throw new UserError(`invalid detach keys '${text}': write ctrl-p,ctrl-q`);
  });
}

/** Looks for the keys in what is typed; what may be their beginning is held back. */
export class KeyWatch {
  readonly #keys: readonly number[];
  #matched = 0;

  constructor(keys: readonly number[]) {
    this.#keys = keys;
  }

  /** What goes on to the container; undefined when the keys are complete. */
  pass(data: Uint8Array): Uint8Array | undefined {
    if (this.#keys.length === 0) return data;
    const out: number[] = [];
    for (const byte of data) {
      if (byte === this.#keys[this.#matched]) {
        if (++this.#matched === this.#keys.length) return undefined;
        continue;
      }
      out.push(...this.#keys.slice(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) out.push(byte);
    }
    return Uint8Array.from(out);
  }
}

const PROXIED = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
] as const;

/** The streams of one container, between its creation and its end. */
export class Joined {
  readonly #store: Store;
  readonly #id: string;
  readonly #options: JoinOptions;
  readonly #attachment: Attachment;
  readonly #undo: (() => void)[] = [];
  readonly #copied: Promise<'ended' | 'detached'>;

  constructor(store: Store, id: string, state: ContainerState, options: JoinOptions) {
    this.#store = store;
    this.#id = id;
    this.#options = options;
    this.#attachment = new Attachment(store, id);
    this.#copied = this.#attachment.copy((data, stream) => printBytes(data, stream));
    if (options.tty) this.#terminal();
    if (options.stdin) this.#input();
    if (options.proxy && !options.tty) this.#signals(state);
  }

  #terminal(): void {
    const { stdin, stdout } = process;
    const resize = (): void => resizeTerminal(this.#store, this.#id, stdout.rows, stdout.columns);
    if (stdout.isTTY) {
      resize();
      stdout.on('resize', resize);
      this.#undo.push(() => stdout.off('resize', resize));
    }
    if (!this.#options.stdin || !stdin.isTTY) return;
    stdin.setRawMode(true);
    this.#undo.push(() => stdin.setRawMode(false));
  }

  #input(): void {
    const { stdin } = process;
    const keys = new KeyWatch(this.#options.tty ? this.#options.detachKeys : []);
    const data = (part: Buffer): void => {
      const passed = keys.pass(part);
      if (passed === undefined) {
        this.#attachment.detach();
        return;
      }
      stdin.pause();
      void this.#attachment.send(passed).then(() => stdin.resume());
    };
    const end = (): void => void this.#attachment.endInput();
    stdin.on('data', data).once('end', end).once('error', end);
    this.#undo.push(() => {
      stdin.off('data', data).off('end', end).off('error', end);
      stdin.destroy();
    });
  }

  #signals({ pid, start }: ContainerState): void {
    for (const signal of PROXIED) {
      const send = (): void => void signalProcess(pid, start, signal);
      process.on(signal, send);
      this.#undo.push(() => process.off(signal, send));
    }
  }

  /** Waits for the container's end, or until the user leaves it: its exit status, or undefined. */
  async end(state: ContainerState): Promise<number | 'detached' | undefined> {
    const leaving = new AbortController();
    try {
      const exited = waitForExit(this.#store, this.#id, state, leaving.signal);
      const left = async (): Promise<number | 'detached' | undefined> =>
        (await this.#copied) === 'detached' ? 'detached' : exited;
      const result = await Promise.race([exited, left()]);
      if (result !== 'detached') this.#attachment.finish();
      await this.#copied;
      return result;
    } finally {
      leaving.abort();
      this.drop();
    }
  }

  /** Gives our streams back. */
  drop(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#attachment.close();
  }
}
