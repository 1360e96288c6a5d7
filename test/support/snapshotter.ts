/** A `stratafs snapshotter` in a process of its own, and a client of its socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { SNAPSHOTS } from '../../src/driver/grpc/protos.js';
import { stratafsBinary } from './needs.js';

const START_MS = 30_000;

export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface Info {
  readonly name: string;
  readonly parent: string;
  readonly kind: string;
  readonly created_at: { readonly seconds: string; readonly nanos: number };
  readonly updated_at: { readonly seconds: string; readonly nanos: number };
  readonly labels: Readonly<Record<string, string>>;
}

type Call = (...args: unknown[]) => AsyncIterable<unknown>;

/** A client of one gRPC service. */
export class GrpcClient {
  readonly #client: Record<string, Call> & { close(): void };

  constructor(definition: ServiceDefinition, socket: string) {
    const Constructor = makeGenericClientConstructor(definition, 'Test');
    const client = new Constructor(`unix:${socket}`, credentials.createInsecure());
    this.#client = client as unknown as Record<string, Call> & { close(): void };
  }

  ask(method: string, request: object, headers: Record<string, string> = {}): Promise<unknown> {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return new Promise((resolve, reject) => {
      this.#client[method](request, metadata, (error: ServiceError | null, answer: unknown) => {
        if (error) reject(error);
        else resolve(answer);
      });
    });
  }

  stream(method: string, request: object): AsyncIterable<unknown> {
    return this.#client[method](request);
  }

  close(): void {
    this.#client.close();
  }
}

export class TestSnapshotter {
  readonly client: GrpcClient;
  readonly child: ChildProcess;
  readonly #said: () => string;

  private constructor(child: ChildProcess, client: GrpcClient, said: () => string) {
    this.child = child;
    this.client = client;
    this.#said = said;
  }

  /** Starts one, and waits until it listens. Rejects with what it says when it ends instead. */
  static async start(
    root: string,
    socket: string,
    flags: readonly string[] = [],
    environment: NodeJS.ProcessEnv = process.env,
  ): Promise<TestSnapshotter> {
    const args = ['snapshotter', '--root', root, '--address', socket, ...flags];
    const stdio = ['ignore', 'ignore', 'pipe'] as const;
    const child = spawn(stratafsBinary(), args, { stdio: [...stdio], env: environment });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    const deadline = Date.now() + START_MS;
    while (!said.includes('listening at')) {
      if (child.exitCode !== null || Date.now() > deadline) {
        child.kill('SIGKILL');
        throw new Error(`the snapshotter did not start: ${said}`);
      }
      await sleep(20);
    }
    return new TestSnapshotter(child, new GrpcClient(SNAPSHOTS, socket), () => said);
  }

  /** What it has logged. */
  get log(): string {
    return this.#said();
  }

  async prepare(key: string, parent = '', labels = {}): Promise<Mount[]> {
    const answer = await this.client.ask('Prepare', { key, parent, labels });
    return (answer as { mounts: Mount[] }).mounts;
  }

  async view(key: string, parent: string): Promise<Mount[]> {
    return ((await this.client.ask('View', { key, parent })) as { mounts: Mount[] }).mounts;
  }

  async mounts(key: string): Promise<Mount[]> {
    return ((await this.client.ask('Mounts', { key })) as { mounts: Mount[] }).mounts;
  }

  async commit(name: string, key: string, more = {}): Promise<void> {
    await this.client.ask('Commit', { name, key, ...more });
  }

  async remove(key: string): Promise<void> {
    await this.client.ask('Remove', { key });
  }

  async cleanup(): Promise<void> {
    await this.client.ask('Cleanup', {});
  }

  async stat(key: string): Promise<Info> {
    return ((await this.client.ask('Stat', { key })) as { info: Info }).info;
  }

  async list(...filters: readonly string[]): Promise<Info[]> {
    const infos: Info[] = [];
    for await (const message of this.client.stream('List', { filters })) {
      infos.push(...(message as { info: Info[] }).info);
    }
    return infos;
  }

  /** Ends it with a signal; resolves with the exit code, null after SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
    this.client.close();
    const exit = once(this.child, 'exit');
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill(signal);
      await exit;
    }
    return this.child.exitCode;
  }
}
