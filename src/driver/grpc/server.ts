/** A gRPC server on a socket that somebody else listens at. */
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Service } from '../service/run.js';
import { MAX_MESSAGE } from './protos.js';

/** How long requests under way may take when the server ends. */
const GRACE_MS = 30_000;
/** For their answers to reach the client. */
const FLUSH_MS = 50;

type Handler = (
  call: ServerUnaryCall<object, object> & ServerWritableStream<object, object>,
  callback?: sendUnaryData<object>,
) => void;

/** Counts requests under way. */
class Busy {
  #count = 0;
  #idle: (() => void) | undefined;

  begin(): () => void {
    this.#count++;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      if (--this.#count === 0) this.#idle?.();
    };
  }

  /** Resolves when there are none. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#count === 0) resolve();
      else this.#idle = resolve;
    });
  }

  /** A handler whose requests are counted: until their answer, or the end of their stream. */
  counted(handler: Handler): Handler {
    return (call, callback) => {
      const end = this.begin();
      if (!callback) {
        for (const event of ['finish', 'close', 'error']) call.on(event, end);
        handler(call);
        return;
      }
      handler(call, (...answer) => {
        callback(...answer);
        end();
      });
    };
  }
}

export function grpcServer(
  services: readonly (readonly [ServiceDefinition, UntypedServiceImplementation])[],
): Service {
  const grpc = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE,
    'grpc.max_send_message_length': MAX_MESSAGE,
  });
  const busy = new Busy();
  for (const [definition, implementation] of services) {
    const counted = Object.entries(implementation).map(([name, handler]) => [
      name,
      busy.counted(handler as Handler),
    ]);
    grpc.addService(definition, Object.fromEntries(counted) as UntypedServiceImplementation);
  }
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    injector.injectConnection(socket);
  });
  const stop = async (): Promise<void> => {
    server.close();
    // Clients may send no more on their connections.
    injector.drain(GRACE_MS);
    const enough = new AbortController();
    await Promise.race([busy.idle(), sleep(GRACE_MS, undefined, { signal: enough.signal })]);
    enough.abort();
    await sleep(FLUSH_MS);
    grpc.forceShutdown();
    for (const socket of sockets) socket.destroy();
  };
  return { server, stop };
}
