/** The socket of a process that serves mounts: checks who asks, and answers. */
import { createServer, type Server, type Socket } from 'node:net';
import { display, withoutControls } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import type { Native } from '../sys/native.js';
import { parseMount } from '../options/commandLine.js';
import type { Mounts } from './mounts.js';
import { absolute } from '../options/list.js';
import { isRemount, remount } from './remount.js';
import { planMount } from '../options/plan.js';
import { euid } from '../wire/sockets.js';
import { type Done, type HostInfo, MAX_REQUEST, type Request } from '../wire/control.js';
import { differences, type Self } from './self.js';

/** How long a connection may take to say what it wants. */
const SILENCE_MS = 10_000;

const done = (stderr = ''): Done => ({ code: stderr === '' ? 0 : 1, stdout: '', stderr });

/** What a host can be told to do. */
interface Control {
  readonly retired: () => boolean;
  readonly retire: () => void;
  readonly stop: () => void;
}

interface ServerOptions {
  readonly self: Self;
  /** Absent for --foreground: such a process serves the one mount it was started for. */
  readonly control?: Control;
  /** Called after each connection that ends. */
  readonly onQuiet: () => void;
  readonly log: (line: string) => void;
}

export class MountServer {
  readonly #native: Native;
  readonly #mounts: Mounts;
  readonly #options: ServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #closed = false;

  constructor(native: Native, mounts: Mounts, options: ServerOptions) {
    this.#native = native;
    this.#mounts = mounts;
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#accept(socket);
    });
    this.#server.on('error', (error) => {
      options.log(`the socket failed: ${String(error)}`);
    });
  }

  /** Requests that are being answered. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Listens on an inherited listening descriptor, or on a path. */
  listen(where: { readonly fd: number } | { readonly path: string }): void {
    this.#server.listen(where);
  }

  /** Takes no more requests; who waits in the queue is cut off and asks the next host. */
  close(): void {
    this.#closed = true;
    this.#server.close();
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#options.onQuiet();
    });
    socket.on('error', () => {
      // EPIPE, ECONNRESET: the asker was ended; 'close' follows.
    });
    if (!this.#trusted(socket)) {
      socket.destroy();
      return;
    }
    let text = '';
    let asked = false;
    const silent = setTimeout(() => socket.destroy(), SILENCE_MS);
    socket.on('close', () => {
      clearTimeout(silent);
    });
    socket.setEncoding('latin1');
    socket.on('end', () => {
      if (!asked) socket.destroy();
    });
    socket.on('data', (part: string) => {
      text += part;
      if (asked || this.#closed || text.length > MAX_REQUEST) {
        socket.destroy();
        return;
      }
      if (!text.endsWith('\n')) return;
      asked = true;
      clearTimeout(silent);
      void this.#reply(socket, text);
    });
  }

  /** Only the same user may ask; what is done for him depends on more (#other). */
  #trusted(socket: Socket): boolean {
    const uid = this.#native.peerUid(descriptor(socket));
    if (uid === euid()) return true;
    this.#options.log(`refused a request of user ${uid}`);
    return false;
  }

  /** Never rejects: each request gets exactly one answer. */
  async #reply(socket: Socket, line: string): Promise<void> {
    let answer: unknown;
    try {
      answer = await this.#answer(parsed(line), socket);
    } catch (error) {
      answer = this.#failed(error);
    }
    socket.end(`${JSON.stringify(answer)}\n`, 'utf8');
  }

  #failed(error: unknown): Done {
    let message = error instanceof Error ? error.message : String(error);
    if (!(error instanceof UserError)) {
      this.#options.log(error instanceof Error ? (error.stack ?? message) : message);
      message = `the host failed: ${message}; see its log`;
    }
    const code = error instanceof UserError ? error.exit : 1;
    return { code, stdout: '', stderr: `stratafs: ${withoutControls(message)}\n` };
  }

  async #answer(request: Request, socket: Socket): Promise<unknown> {
    if ('argv' in request) return this.#mount(request, socket);
    if ('ended' in request) {
      return { ended: await this.#mounts.ended(request.ended) };
    }
    if ('watch' in request) return { ended: await this.#mounts.gone(String(request.watch)) };
    if ('free' in request) {
      await this.#mounts.free(request.free);
      return done();
    }
    if ('host' in request) return this.#told(request);
    switch (request.query) {
      case 'host':
        return this.#info();
      case 'mounts':
        return this.#mounts.list();
      case 'stats':
        return (await this.#mounts.stats(request.device)) ?? null;
      default:
        throw new UserError('this host does not know that request: it is of another version');
    }
  }

  #info(): HostInfo {
    const { self, control } = this.#options;
    const { pid, version, build, path, namespace, runBy } = self;
    const fixed = { pid, version, build, path, namespace, runBy };
    const uptime = Math.floor(process.uptime());
    return { ...fixed, retired: control?.retired() ?? false, uptime, mounts: this.#mounts.size };
  }

  #told(request: Extract<Request, { readonly host: string }>): Done {
    const { control } = this.#options;
    const live = this.#mounts.size;
    if (!control) {
      return done('stratafs: a mount of --foreground ends when it is unmounted, or with SIGTERM\n');
    }
    if (request.host === 'retire') control.retire();
    else if (live === 0 || request.force) {
      // After the answer is on its way.
      setImmediate(control.stop);
    } else {
      const mounts = live === 1 ? '1 mount' : `${live} mounts`;
      return done(`stratafs: it has ${mounts}: unmount first, or stop it with --force\n`);
    }
    return done();
  }

  /**
   * Why this host does nothing for the process at the other end. The host acts with its own rights on
   * the paths it is given, so the peer must have the same.
   */
  #other(socket: Socket, build: unknown): string | undefined {
    const { self, control } = this.#options;
    if (build !== self.build) return `it is of build ${self.build}, in ${self.path}`;
    if (control?.retired()) return 'it was told to take no more mounts';
    const peer = this.#native.peerIdentity(descriptor(socket));
    if (typeof peer === 'number') return `it cannot read what that may do: ${errnoText(peer)}`;
    if (peer === self.identity) return undefined;
    return `it differs in: ${differences(self.identity, peer)}`;
  }

  async #mount(
    { argv, cwd, build, as, dotWhiteouts }: Extract<Request, { readonly argv: readonly string[] }>,
    socket: Socket,
  ): Promise<Done> {
    if (!this.#options.control) throw new UserError('this process takes no other mounts');
    const other = this.#other(socket, build);
    if (other !== undefined) return { ...done(), code: 1, other };
    const command = parseMount(argv);
    if (command.foreground) {
      throw new UserError(`the host only mounts, it has no '${display(argv.join(' '))}'`);
    }
    if (isRemount(command.options)) {
      const { options: lists, mountpoint } = command;
      const target = { lists, cwd, mountpoint: absolute(mountpoint, cwd) };
      await remount(this.#native, this.#mounts.list(), target);
      return done();
    }
    const plan = planMount(command.options, {
      cwd,
      mountpoint: command.mountpoint,
      privileged: euid() === 0,
      asFuseOverlayfs: as === 'fuse-overlayfs',
      dotWhiteouts: dotWhiteouts === true,
    });
    for (const note of plan.notes) this.#options.log(`${display(plan.mountpoint)}: ${note}`);
    await this.#mounts.mount(plan);
    return done();
  }
}

/** Node shows the descriptor of a connection only here. */
const descriptor = (socket: Socket): number =>
  (socket as { _handle?: { fd?: number } })._handle?.fd ?? -1;

function parsed(line: string): Request {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new UserError('the request is no JSON');
  }
  if (typeof value !== 'object' || value === null) throw new UserError('the request is no object');
  return value as Request;
}
