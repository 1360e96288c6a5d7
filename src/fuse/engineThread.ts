/**
 * An engine thread: a worker that serves mounts from one loop. It never returns to its event loop
 * while it lives; the host reaches it through its message port and the loop's eventfd
 * (messages.ts).
 */
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { UserError } from '../base/errno.js';
import { FdCache } from '../overlay/data/fdCache.js';
import { Listings } from '../overlay/listing/shared.js';
import { openOverlay } from '../overlay/open.js';
import { log } from '../sys/log.js';
import { NEXT_ENDED, NEXT_WAKE } from '../sys/native.js';
import { OUT } from '../sys/memory.js';
import { SMALL, Sys } from '../sys/sys.js';
import { RequestCaller } from './caller.js';
import { dispatch } from './dispatch.js';
import type { FromEngine, ToEngine } from './messages.js';
import { connectPool, releaseKilled } from './parked.js';
import { connectBackings, passthroughProblem } from './passthroughPort.js';
import type { Session } from './session.js';
import { statsOf } from './stats.js';
import { tidy } from './tidy.js';

/** Of the process's descriptors, a thread's cache may take this share; the rest is for other threads, layers and devices. */
const FD_SHARE = 5;
const FD_LEAST = 64;

class EngineThread {
  readonly #sys = new Sys();
  readonly #port: MessagePort;
  readonly #fds: FdCache;
  readonly #listings = new Listings();
  readonly #prepared = new Map<number, Session>();
  readonly #bySlot: (Session | undefined)[] = [];
  readonly #byMount = new Map<number, Session>();
  #stopping = false;

  constructor(port: MessagePort) {
    this.#port = port;
    const limit = this.#sys.native.raiseNofile();
    this.#fds = new FdCache(this.#sys.native, Math.max(FD_LEAST, Math.floor(limit / FD_SHARE)));
    this.#sys.reclaim = this.#fds.shrink;
    this.#sys.native.umask(0);
    this.#post({ kind: 'ready', wakeFd: this.#sys.native.wakeFd() });
  }

  #post(message: FromEngine): void {
    this.#port.postMessage(message);
  }

  /** The loop: reply to the last request, wait for the next. */
  run(): void {
    const { native } = this.#sys;
    let slot = 0;
    let length = 0;
    while (!this.#stopping) {
      const next = native.next(slot, length);
      length = 0;
      if (next >= 0) {
        const session = this.#bySlot[next];
        slot = next;
        if (session) length = this.#serve(session);
      } else if (next === NEXT_WAKE) {
        this.#takeMessages();
        this.#takeCopies();
        for (const session of this.#bySlot) {
          if (!session) continue;
          guarded('tidying', () => tidy(session));
          releaseKilled(session);
        }
      } else if (next <= NEXT_ENDED) {
        this.#ended(NEXT_ENDED - next);
      } else {
        log(`the request loop failed with ${next}`);
      }
    }
  }

  #serve(session: Session): number {
    if (session.minor === 0) return this.#greet(session);
    let length = dispatch(session);
    const { ahead } = session.ov;
    if (ahead.reading !== 0) {
      // The reader need not wait for what is done for the next file.
      this.#sys.native.send(session.slot, OUT, length);
      length = 0;
      guarded('reading ahead', () => {
        ahead.go(session.ov);
      });
    }
    this.#fds.flush();
    return length;
  }

  /** INIT, and then the word to the host that the mount is live, or why not. */
  #greet(session: Session): number {
    const { ov, slot } = session;
    const length = dispatch(session);
    if (session.failure === undefined && session.minor !== 0 && ov.passthrough) {
      // Only once the reply is with the kernel are backing files taken.
      this.#sys.native.send(slot, OUT, length);
      session.failure = passthroughProblem(ov, slot);
      connectBackings(ov, slot);
      this.#announce(session);
      return 0;
    }
    this.#announce(session);
    return length;
  }

  #announce({ mount, failure, minor }: Session): void {
    if (failure !== undefined) this.#post({ kind: 'failed', mount, message: failure });
    else if (minor !== 0) this.#post({ kind: 'live', mount });
  }

  #takeMessages(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: ToEngine } | undefined;
      if (!received) return;
      this.#take(received.message);
    }
  }

  /** Serves those who waited for copies that the pool has ended. */
  #takeCopies(): void {
    const { native, view } = this.#sys;
    for (;;) {
      const job = native.poolDone(SMALL);
      if (job <= 0) return;
      const result = view.getInt32(SMALL, true);
      this.#bySlot.find((session) => session?.ov.bulk.done(job, result));
      this.#fds.flush();
    }
  }

  #take(message: ToEngine): void {
    switch (message.kind) {
      case 'prepare':
        this.#prepare(message.mount, message);
        return;
      case 'serve':
        this.#attach(message.mount, message.deviceFd);
        return;
      case 'abandon':
        this.#abandon(message.mount);
        return;
      case 'stats': {
        const session = this.#byMount.get(message.mount);
        if (session) {
          const stats = statsOf(session, this.#fds);
          this.#post({ kind: 'stats', query: message.query, stats });
        }
        return;
      }
      case 'stop':
        this.#stopping = true;
    }
  }

  #prepare(mount: number, { spec }: Extract<ToEngine, { kind: 'prepare' }>): void {
    try {
      const ov = openOverlay(this.#sys, spec, this.#fds, this.#listings);
      const caller = new RequestCaller(ov);
      this.#prepared.set(mount, {
        ...{ ov, caller, mount, slot: -1, setxattrExt: false, uncapped: 0, minor: 0 },
        ...{ looks: 0, served: 0, lookedAt: 0 },
        ...{ parked: new Map(), interrupted: new Set(), begun: undefined },
      });
      const devices = [...ov.layers].map((layer) => layer.dev.toString());
      this.#post({ kind: 'prepared', mount, devices });
    } catch (error) {
      this.#post({ kind: 'failed', mount, message: reason(error) });
    }
  }

  #attach(mount: number, deviceFd: number): void {
    const session = this.#prepared.get(mount);
    if (!session) return;
    this.#prepared.delete(mount);
    const { native } = this.#sys;
    const slot = native.attach(deviceFd);
    if (slot < 0) {
      session.ov.close();
      native.close(deviceFd);
      this.#post({ kind: 'failed', mount, message: `cannot serve the mount: error ${slot}` });
      return;
    }
    session.slot = slot;
    connectPool(session.ov, slot);
    session.ov.setBacking = (node, fd, writable) => {
      native.setBacking(slot, node, fd, writable);
    };
    this.#bySlot[slot] = session;
    this.#byMount.set(mount, session);
  }

  #abandon(mount: number): void {
    this.#prepared.get(mount)?.ov.close();
    this.#prepared.delete(mount);
    this.#post({ kind: 'ended', mount });
  }

  #ended(slot: number): void {
    // Copies for it that have just ended.
    this.#takeCopies();
    const session = this.#bySlot[slot];
    this.#sys.native.detach(slot);
    this.#bySlot[slot] = undefined;
    if (!session) return;
    this.#byMount.delete(session.mount);
    session.ov.setBacking = () => undefined;
    session.ov.times = undefined;
    session.ov.close();
    this.#post({ kind: 'ended', mount: session.mount });
  }
}

/** A bug in what is only for speed must end no mount. */
function guarded(what: string, work: () => unknown): void {
  try {
    work();
  } catch (error) {
    log(`${what} failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

function reason(error: unknown): string {
  if (error instanceof UserError) return error.message;
  log(error instanceof Error ? String(error.stack) : String(error));
  return `the mount failed: ${String(error)}`;
}

if (parentPort) new EngineThread(parentPort).run();
