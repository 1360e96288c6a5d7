/** ADD of a URL. */
import { createHash } from 'node:crypto';
import { UserError } from '../../base/errno.js';

/** 2 GiB: a Buffer is no larger everywhere. */
const MAX_BYTES = 2 ** 31 - 1;

export const isUrl = (source: string): boolean => /^(https?|git|ssh):\/\/|^git@/i.test(source);

interface Downloaded {
  readonly name: string;
  readonly data: Buffer;
  /** Seconds since 1970. */
  readonly modified: number;
}

export async function download(
  url: string,
  checksum: string | undefined,
  signal: AbortSignal,
): Promise<Downloaded> {
  if (!/^https?:/i.test(url) || /\.git(#|$)/.test(url)) {
    throw new UserError(`ADD reads no repository: clone ${url} into the context first`);
  }
  const name = decodeURIComponent(new URL(url).pathname.split('/').pop() ?? '');
  if (name === '' || name.includes('/') || name.includes('\0') || name === '..') {
    throw new UserError(`ADD ${url}: the URL has no name for the file`);
  }
  const response = await fetch(url, { signal }).catch((error: unknown) => {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new UserError(`ADD ${url}: ${cause instanceof Error ? cause.message : String(cause)}`);
  });
  if (!response.ok) throw new UserError(`ADD ${url}: the server says ${response.status}`);
  const data = await readBody(response, url);
  if (checksum !== undefined) {
    const found = `sha256:${createHash('sha256').update(data).digest('hex')}`;
    if (found !== checksum)
      throw new UserError(`ADD ${url}: its digest is ${found}, not ${checksum}`);
  }
  const modified = Date.parse(response.headers.get('last-modified') ?? '');
  return { name, data, modified: Number.isNaN(modified) ? 0 : modified / 1000 };
}

async function readBody(response: Response, url: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new UserError(`ADD ${url}: it is longer than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
