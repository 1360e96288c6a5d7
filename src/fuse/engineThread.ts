/**
 * An engine thread: a worker that serves mounts from one loop. It does not return to its event loop while it
 * lives. The host reaches it through its message port and the loop's eventfd (messages.ts).
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { errnoName, UserError } from '../base/errno.js';
import { ReadAhead } from '../overlay/access/readAhead.js';
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
import { invalidateListing } from './notify.js';
import { connectBare } from './barePort.js';
import { connectBackings, passthroughProblem } from './passthroughPort.js';
import type { Served } from './served.js';
import { statsOf } from './stats.js';
import { tidy } from './tidy.js';

/** What all threads together may keep of the process's descriptors; the rest is for layers, devices and the pools. */
const KEPT_SHARE = 0.4;
const KEPT_LEAST = 64;
const KEPT_MOST = 65_536;

/** What the host wants to know before a mount is made; throws UserError when it may not be. */
type Check = (sys: Sys, question: unknown) => unknown;

export class EngineThread {
  readonly #sys = new Sys();
  readonly #port: MessagePort;
  readonly #check: Check;
  readonly #fds: FdCache;
  readonly #listings = new Listings();
  readonly #prepared = new Map<number, Served>();
  readonly #bySlot: (Served | undefined)[] = [];
  readonly #byMount = new Map<number, Served>();
  #stopping = false;

  constructor(port: MessagePort, check: Check) {
    this.#port = port;
    this.#check = check;
    const limit = Math.floor(this.#sys.native.raiseNofile() * KEPT_SHARE);
    const kept = Math.min(Math.max(limit, KEPT_LEAST), KEPT_MOST);
    this.#fds = new FdCache(this.#sys.native, kept);
    this.#sys.reclaim = this.#fds.shrink;
    this.#sys.native.umask(0);
    this.#post({ kind: 'ready', wakeFd: this.#sys.native.wakeFd() });
  }

  /** Gives this thread, and none of its pool, a nice value below the others'; nothing happens where that is refused. */
  takePrecedence(nice: number): void {
    this.#sys.native.niceThread(nice);
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
        const served = this.#bySlot[next];
        slot = next;
        if (served) length = this.#serve(served);
      } else if (next === NEXT_WAKE) {
        this.#fds.answerCalls();
        this.#takeMessages();
        this.#takeCopies();
        this.#say('a reply could not be written', native.lastSendError());
        for (const served of this.#bySlot) {
          if (!served) continue;
          guarded('tidying', () => tidy(served));
          releaseKilled(served);
        }
      } else if (next <= NEXT_ENDED) {
        this.#ended(NEXT_ENDED - next);
      } else {
        log(`the request loop failed with ${next}`);
      }
    }
  }

  #serve(served: Served): number {
    if (served.minor === 0) return this.#greet(served);
    let length = dispatch(served);
    if (served.ov.readFromStart !== 0) {
      // The reader need not wait for what is done for the next file.
      this.#sys.native.send(served.slot, OUT, length);
      length = 0;
      guarded('reading ahead', () => {
        served.ahead.go(served.ov);
      });
    }
    this.#fds.flush();
    return length;
  }

  /** INIT, and then the word to the host that the mount is live, or why not. */
  #greet(served: Served): number {
    const { ov, slot } = served;
    const length = dispatch(served);
    if (served.failure === undefined && served.minor !== 0 && ov.passthrough) {
      // Only once the reply is with the kernel are backing files taken.
      this.#sys.native.send(slot, OUT, length);
      served.failure = passthroughProblem(ov, slot);
      connectBackings(ov, slot);
      this.#announce(served);
      return 0;
    }
    this.#announce(served);
    return length;
  }

  #announce({ mount, failure, minor }: Served): void {
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
      this.#bySlot.find(
        (served) =>
          served !== undefined &&
          (served.ov.bulk.done(job, result) ||
            served.ov.flushes.done(job, result) ||
            served.ov.bare.done(job, result) ||
            served.ov.truncations.done(job, result) ||
            served.ov.room.done(job)),
      );
      this.#fds.flush();
    }
  }

  #take(message: ToEngine): void {
    switch (message.kind) {
      case 'check':
        this.#answer(message.mount, message.question);
        return;
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
        const served = this.#byMount.get(message.mount);
        if (served) {
          const stats = statsOf(served, this.#fds);
          this.#post({ kind: 'stats', query: message.query, stats });
        }
        return;
      }
      case 'nodes': {
        const served = this.#byMount.get(message.mount);
        // One record has 16 words, and a node's number is that of its record.
        if (served) {
          const last = served.ov.table.arena.u32.length >> 4;
          this.#post({ kind: 'nodes', mount: message.mount, last });
        }
        return;
      }
      case 'end': {
        const served = this.#byMount.get(message.mount);
        if (served) this.#ended(served.slot);
        return;
      }
      case 'stop':
        this.#stopping = true;
    }
  }

  #answer(mount: number, question: unknown): void {
    try {
      this.#post({ kind: 'checked', mount, answer: this.#check(this.#sys, question) });
    } catch (error) {
      this.#post({ kind: 'failed', mount, message: reason(error) });
    }
  }

  #prepare(mount: number, { spec }: Extract<ToEngine, { kind: 'prepare' }>): void {
    try {
      const ov = openOverlay(this.#sys, spec, this.#fds, this.#listings);
      const caller = new RequestCaller(ov);
      this.#prepared.set(mount, {
        ...{ ov, caller, mount, slot: -1, setxattrExt: false, uncapped: 0, minor: 0 },
        ...{ looks: 0, served: 0, lookedAt: 0 },
        ...{ parked: new Map(), interrupted: new Set(), begun: undefined, ahead: new ReadAhead() },
      });
      const devices = [...ov.layers].map((layer) => layer.dev.toString());
      this.#post({ kind: 'prepared', mount, devices });
    } catch (error) {
      this.#post({ kind: 'failed', mount, message: reason(error) });
    }
  }

  #attach(mount: number, deviceFd: number): void {
    const served = this.#prepared.get(mount);
    if (!served) return;
    this.#prepared.delete(mount);
    const { native } = this.#sys;
    const slot = native.attach(deviceFd);
    if (slot < 0) {
      served.ov.close();
      native.close(deviceFd);
      this.#post({ kind: 'failed', mount, message: `cannot serve the mount: error ${slot}` });
      return;
    }
    served.slot = slot;
    connectPool(served.ov, slot);
    connectBare(served.ov, slot);
    served.ov.setBacking = (node, fd, writable) => {
      native.setBacking(slot, node, fd, writable);
    };
    served.ov.forgetListing = (node) => {
      invalidateListing(this.#sys, slot, node);
    };
    this.#bySlot[slot] = served;
    this.#byMount.set(mount, served);
  }

  #abandon(mount: number): void {
    this.#prepared.get(mount)?.ov.close();
    this.#prepared.delete(mount);
    this.#post({ kind: 'ended', mount });
  }

  /** Logs what the session met, if it did; `code` is an errno, 0 for none. */
  #say(what: string, code: number): void {
    if (code !== 0) log(`${what}: ${errnoName(code)}`);
  }

  #ended(slot: number): void {
    // Copies for it that have just ended.
    this.#takeCopies();
    const served = this.#bySlot[slot];
    this.#say('the connection of a mount broke', this.#sys.native.lastReadError());
    this.#sys.native.detach(slot);
    this.#bySlot[slot] = undefined;
    if (!served) return;
    this.#byMount.delete(served.mount);
    served.ov.setBacking = () => undefined;
    served.ov.times = undefined;
    served.ov.bare.port = undefined;
    served.ov.flushes.flush = undefined;
    served.ov.close();
    this.#post({ kind: 'ended', mount: served.mount });
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
