/**
 * An npm registry on this machine that has our packages besides everything that the real one has:
 * so package managers install them as they would after a release.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import { run } from './run.js';

/** A fixed day in the past: package managers may refuse what was published only now. */
const PUBLISHED = '2026-01-01T00:00:00.000Z';

export interface Registry {
  readonly url: string;
  close(): Promise<void>;
}

interface Own {
  readonly manifest: Record<string, unknown> & { readonly name: string; readonly version: string };
  readonly file: string;
  readonly bytes: Buffer;
}

/**
 * Serves the packages in `tarballs` (made by npm pack) until closed. `others`: their optional
 * dependencies for other architectures, which are looked at by all managers and installed by none.
 */
export async function startRegistry(
  tarballs: readonly string[],
  others: readonly { readonly name: string; readonly cpu: string }[],
): Promise<Registry> {
  const own = new Map<string, Own>();
  for (const path of tarballs) {
    const { stdout } = await run('tar', ['-xzOf', path, 'package/package.json']);
    const manifest = JSON.parse(stdout) as Own['manifest'];
    own.set(manifest.name, { manifest, file: basename(path), bytes: await readFile(path) });
  }
  const [some] = [...own.values()] as [Own];
  for (const { name, cpu } of others) {
    const manifest = { ...some.manifest, name, os: ['linux'], cpu: [cpu] } as Own['manifest'];
    own.set(name, { manifest, file: `${cpu}.tgz`, bytes: Buffer.alloc(0) });
  }
  const upstream = (await run('npm', ['config', 'get', 'registry'])).stdout.trim();
  const server = createServer((request, response) => {
    answer(own, upstream, request, response).catch((error: unknown) => {
      response.writeHead(502).end(String(error));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: addressOf(server), close: () => close(server) };
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}

async function answer(
  own: ReadonlyMap<string, Own>,
  upstream: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = decodeURIComponent((request.url ?? '/').slice(1));
  const tarball = [...own.values()].find(({ file }) => path === `-/${file}`);
  if (tarball) {
    response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(tarball.bytes);
    return;
  }
  const found = own.get(path);
  if (found) {
    const text = JSON.stringify(packument(found, `http://${request.headers.host ?? ''}/`));
    response.writeHead(200, { 'content-type': 'application/json' }).end(text);
    return;
  }
  const headers = { accept: request.headers.accept ?? '*/*' };
  const real = await fetch(new URL((request.url ?? '/').slice(1), upstream), { headers });
  const type = real.headers.get('content-type') ?? 'application/octet-stream';
  response.writeHead(real.status, { 'content-type': type });
  response.end(Buffer.from(await real.arrayBuffer()));
}

/** What a registry says of a package, as npm publish would have made it. */
function packument({ manifest, file, bytes }: Own, url: string): unknown {
  const { name, version } = manifest;
  const digest = (algorithm: string, encoding: 'hex' | 'base64'): string =>
    createHash(algorithm).update(bytes).digest(encoding);
  const dist = {
    tarball: `${url}-/${file}`,
    shasum: digest('sha1', 'hex'),
    integrity: `sha512-${digest('sha512', 'base64')}`,
  };
  return {
    _id: name,
    name,
    'dist-tags': { latest: version },
    versions: { [version]: { ...manifest, _id: `${name}@${version}`, dist } },
    time: { created: PUBLISHED, modified: PUBLISHED, [version]: PUBLISHED },
  };
}
