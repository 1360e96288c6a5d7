/** containerd's content store over its socket (containerd.services.content.v1). */
import { randomBytes } from 'node:crypto';
import {
  type ClientDuplexStream,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { UserError } from '../../base/errno.js';
import type { Caller, Content, Upload } from '../differ/content.js';
import { LEASE_HEADER, NAMESPACE_HEADER } from './diffService.js';
import type { ContentInfo, Map, WriteResponse } from './messages.js';
import { CONTENT, LEASES, MAX_MESSAGE } from './protos.js';

const OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE,
  'grpc.max_send_message_length': MAX_MESSAGE,
};
/** Bytes of one write. */
const CHUNK = 1 << 20;
/** How long new content is kept for a client that has no lease itself. */
const LEASE_MS = 3_600_000;
const UNCOMPRESSED = 'containerd.io/uncompressed';

type Client = InstanceType<ReturnType<typeof makeGenericClientConstructor>>;
type Method = (
  request: object,
  metadata: Metadata,
  done: (error: ServiceError | null, answer: unknown) => void,
) => void;

const ContentService = makeGenericClientConstructor(CONTENT, 'Content');
const LeaseService = makeGenericClientConstructor(LEASES, 'Leases');

function isCode(error: unknown, code: status): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

export class ContentClient implements Content {
  readonly #address: string;
  readonly #content: Client;
  readonly #leases: Client;

  /** `socket` is the path of containerd's socket. It is connected to when it is needed. */
  constructor(socket: string) {
    this.#address = socket;
    this.#content = new ContentService(`unix:${socket}`, credentials.createInsecure(), OPTIONS);
    this.#leases = new LeaseService(`unix:${socket}`, credentials.createInsecure());
  }

  #metadata(caller: Caller, lease = caller.lease): Metadata {
    const metadata = new Metadata();
    metadata.set(NAMESPACE_HEADER, caller.namespace);
    if (lease !== undefined) metadata.set(LEASE_HEADER, lease);
    return metadata;
  }

  /** One request, one answer. */
  #ask(client: Client, method: string, request: object, metadata: Metadata): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const call = client[method] as unknown as Method;
      call.call(client, request, metadata, (error, answer) => {
        if (error) reject(this.#explain(error));
        else resolve(answer);
      });
    });
  }

  #explain(error: ServiceError): Error {
    if (error.code !== status.UNAVAILABLE) return error;
    return new UserError(`containerd does not answer at ${this.#address}: is --containerd right?`);
  }

  async *read(digest: string, caller: Caller): AsyncIterable<Uint8Array> {
    const call = (
      this.#content['Read'] as unknown as (
        request: object,
        metadata: Metadata,
      ) => AsyncIterable<{ readonly data: Buffer }> & { cancel(): void }
    ).call(this.#content, { digest }, this.#metadata(caller));
    try {
      for await (const { data } of call) yield data;
    } catch (error) {
      throw isCode(error, status.UNAVAILABLE) ? this.#explain(error as ServiceError) : error;
    } finally {
      call.cancel();
    }
  }

  async upload(ref: string, caller: Caller): Promise<Upload> {
    const lease = caller.lease ?? (await this.#newLease(caller));
    const metadata = this.#metadata(caller, lease);
    const own = ref === '';
    const name = own ? `stratafs-diff-${randomBytes(12).toString('hex')}` : ref;
    const write = this.#content['Write'] as unknown as (metadata: Metadata) => Stream;
    const writer = new Writer(write.call(this.#content, metadata), name);
    await writer.send({ action: 'STAT', ref: name });
    return {
      write: (bytes) => writer.write(bytes),
      commit: async (digest, labels) => {
        await writer.commit(digest, labels);
        await this.#label(digest, labels, metadata);
      },
      abandon: async () => {
        writer.close();
        if (!own) return;
        // Left alone, containerd removes it with the other uploads that nobody goes on with.
        await this.#ask(this.#content, 'Abort', { ref: name }, metadata).catch(() => undefined);
      },
    };
  }

  async #newLease(caller: Caller): Promise<string> {
    const id = `stratafs-diff-${randomBytes(12).toString('hex')}`;
    const expire = new Date(Date.now() + LEASE_MS).toISOString().replace(/\.\d+Z$/, 'Z');
    const request = { id, labels: { 'containerd.io/gc.expire': expire } };
    await this.#ask(this.#leases, 'Create', request, this.#metadata(caller));
    return id;
  }

  /** A blob that was there already may lack the label that tells the digest of its tar. */
  async #label(digest: string, labels: Map, metadata: Metadata): Promise<void> {
    const answer = await this.#ask(this.#content, 'Info', { digest }, metadata);
    const { info } = answer as { readonly info: ContentInfo | null };
    if (!info || Object.hasOwn(info.labels, UNCOMPRESSED)) return;
    const added = { ...info.labels, [UNCOMPRESSED]: labels[UNCOMPRESSED] };
    const update_mask = { paths: [`labels.${UNCOMPRESSED}`] };
    await this.#ask(
      this.#content,
      'Update',
      { info: { digest, labels: added }, update_mask },
      metadata,
    );
  }
}

type Stream = ClientDuplexStream<object, WriteResponse>;

/** A write stream: every request is answered before the next one is made. */
class Writer {
  readonly #stream: Stream;
  readonly #ref: string;
  #waiting: { resolve(answer: WriteResponse): void; reject(error: Error): void } | undefined;
  #failed: Error | undefined;
  #offset = 0;
  #parts: Uint8Array[] = [];
  #size = 0;

  constructor(stream: Stream, ref: string) {
    this.#stream = stream;
    this.#ref = ref;
    stream.on('data', (answer: WriteResponse) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(answer);
    });
    stream.on('error', (error) => this.#fail(error));
    stream.on('end', () => this.#fail(new Error('containerd has ended the upload')));
  }

  #fail(error: Error): void {
    this.#failed ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  send(request: object): Promise<WriteResponse> {
    return new Promise((resolve, reject) => {
      if (this.#failed) reject(this.#failed);
      else {
        this.#waiting = { resolve, reject };
        this.#stream.write(request);
      }
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    // The packer uses its buffer again.
    this.#parts.push(Uint8Array.from(bytes));
    this.#size += bytes.length;
    if (this.#size >= CHUNK) await this.#flush();
  }

  async #flush(): Promise<void> {
    const data = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#size = 0;
    for (let from = 0; from < data.length; from += CHUNK) {
      const part = data.subarray(from, from + CHUNK);
      const offset = this.#offset;
      const answer = await this.send({ action: 'WRITE', ref: this.#ref, offset, data: part });
      this.#offset += part.length;
      if (Number(answer.offset) !== this.#offset) throw new Error('containerd wrote only a part');
    }
  }

  async commit(digest: string, labels: Map): Promise<void> {
    await this.#flush();
    try {
      const [offset, total] = [this.#offset, this.#offset];
      const request = { action: 'COMMIT', ref: this.#ref, offset, total, expected: digest, labels };
      await this.send(request);
    } catch (error) {
      if (!isCode(error, status.ALREADY_EXISTS)) throw error;
    }
    this.close();
  }

  close(): void {
    this.#failed ??= new Error('this upload has ended');
    this.#stream.end();
  }
}
