/** The socket of a process that serves mounts: who may ask, and what is answered. */
import { createServer, type Server, type Socket } from 'node:net';
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { Native } from '../sys/native.js';
import { parseCommand } from '../options/commandLine.js';
import type { Mounts } from './mounts.js';
import { planMount } from '../options/plan.js';
import { euid } from '../wire/sockets.js';
import { type Done, MAX_REQUEST, type Request } from '../wire/control.js';

export interface ServerOptions {
  /** False for --foreground: such a process serves the one mount it was started for. */
  readonly takesMounts: boolean;
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
      void this.#reply(socket, text);
    });
  }

  /** Only the same user: the host acts with its own rights on the paths it is given. */
  #trusted(socket: Socket): boolean {
    // Node shows the descriptor of a connection only here.
    const handle = (socket as { _handle?: { fd?: number } })._handle;
    const uid = handle?.fd === undefined ? -1 : this.#native.peerUid(handle.fd);
    if (uid === euid()) return true;
    this.#options.log(`refused a request of user ${uid}`);
    return false;
  }

  /** Never rejects: each request gets exactly one answer. */
  async #reply(socket: Socket, line: string): Promise<void> {
    let answer: unknown;
    try {
      answer = await this.#answer(JSON.parse(line) as Request);
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
    return { code: 1, stdout: '', stderr: `stratafs: ${message}\n` };
  }

  async #answer(request: Request): Promise<unknown> {
    if ('argv' in request) return this.#mount(request.argv, request.cwd);
    if ('ended' in request) {
      await this.#mounts.ended(request.ended);
      return {};
    }
    if (request.query === 'mounts') return this.#mounts.list();
    return (await this.#mounts.stats(request.device)) ?? null;
  }

  async #mount(argv: readonly string[], cwd: string): Promise<Done> {
    if (!this.#options.takesMounts) throw new UserError('this process takes no other mounts');
    const command = parseCommand(argv);
    if (command.kind !== 'mount' || command.foreground) {
      throw new UserError(`the host only mounts, it has no '${display(argv.join(' '))}'`);
    }
    const plan = planMount(command.options, {
      cwd,
      mountpoint: command.mountpoint,
      privileged: euid() === 0,
    });
    await this.#mounts.mount(plan);
    return { code: 0, stdout: '', stderr: '' };
  }
}
