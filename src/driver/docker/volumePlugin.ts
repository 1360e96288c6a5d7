/**
 * Docker's volume plug-in protocol, version 1 (docs.docker.com/engine/extend/plugins_volume): JSON
 * over HTTP on a unix socket. Each request is a POST; `Err` in an answer is the sentence that the
 * person at the command line sees.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { UserError } from '../../base/errno.js';
import type { Store } from '../../store/state/store.js';
import { unionOptions } from '../../store/volumes/options.js';
import {
  getVolume,
  listVolumes,
  type VolumeManifest,
  volumePath,
} from '../../store/volumes/records.js';
import {
  createUnion,
  isUnionMounted,
  mountUnion,
  removeUnion,
  unmountUnion,
} from '../../store/volumes/volumes.js';
import type { Service } from '../service/run.js';

const MEDIA_TYPE = 'application/vnd.docker.plugins.v1.1+json';
const MAX_BODY = 1 << 20;

interface Request {
  readonly Name: string;
  readonly ID: string;
  readonly Opts: Readonly<Record<string, string>>;
}

type Log = (line: string) => void;
type Handler = (request: Request) => Promise<object>;

/** What the requests do, by path. */
function handlers(store: Store, log: Log): Readonly<Record<string, Handler>> {
  /** As `Get` and `List` tell it. */
  const shown = async (volume: VolumeManifest) => ({
    Name: volume.name,
    Mountpoint: (await isUnionMounted(store, volume.name, log))
      ? volumePath(store, volume.name)
      : '',
    CreatedAt: volume.created,
    Status: { ...volume.options },
  });
  return {
    '/Plugin.Activate': async () => Promise.resolve({ Implements: ['VolumeDriver'] }),
    '/VolumeDriver.Capabilities': async () => Promise.resolve({ Capabilities: { Scope: 'local' } }),
    '/VolumeDriver.Create': async ({ Name: name, Opts: options }) => {
      const union = unionOptions(options);
      if (!union) {
        throw new UserError(
          'a stratafs volume needs -o lower=DIR, the data it is over; without it use the driver local',
        );
      }
      await createUnion(store, { name, labels: {}, options, union });
      return {};
    },
    '/VolumeDriver.Remove': async ({ Name: name }) => {
      await removeUnion(store, name, log);
      return {};
    },
    '/VolumeDriver.Mount': async ({ Name: name, ID: id }) => ({
      Mountpoint: await mountUnion(store, name, id, log),
    }),
    '/VolumeDriver.Unmount': async ({ Name: name, ID: id }) => {
      await unmountUnion(store, name, id, log);
      return {};
    },
    '/VolumeDriver.Path': async ({ Name: name }) => ({
      Mountpoint: (await shown(getVolume(store, name))).Mountpoint,
    }),
    '/VolumeDriver.Get': async ({ Name: name }) => ({
      Volume: await shown(getVolume(store, name)),
    }),
    '/VolumeDriver.List': async () => ({
      Volumes: await Promise.all(
        listVolumes(store)
          .filter(({ union }) => union)
          .map(shown),
      ),
    }),
  };
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of message as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY) throw new UserError('the request is too long');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function requestOf(body: string): Request {
  let raw: Partial<Record<keyof Request, unknown>>;
  try {
    raw = (body === '' ? {} : JSON.parse(body)) as typeof raw;
  } catch {
    throw new UserError('the request is no JSON');
  }
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  const given = typeof raw.Opts === 'object' && raw.Opts ? raw.Opts : {};
  const options = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, text(value)]),
  );
  return { Name: text(raw.Name), ID: text(raw.ID), Opts: options };
}

/** The plug-in's server, on one store. */
export function volumePlugin(store: Store, log: Log): Service {
  const table = handlers(store, log);
  const pending = new Set<Promise<void>>();
  const answer = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    let [code, text] = [200, ''];
    try {
      const path = message.url ?? '';
      const request = requestOf(await bodyOf(message));
      if (message.method !== 'POST' || !Object.hasOwn(table, path)) {
        code = 404;
        throw new UserError(`${message.method} ${path} is no request of a volume plug-in`);
      }
      text = JSON.stringify({ ...(await table[path](request)), Err: '' });
    } catch (error) {
      if (code === 200) code = 500;
      if (!(error instanceof UserError)) log(String(error instanceof Error ? error.stack : error));
      text = JSON.stringify({ Err: error instanceof Error ? error.message : String(error) });
    }
    response.writeHead(code, { 'Content-Type': MEDIA_TYPE });
    response.end(text);
  };
  const server = createServer((message, response) => {
    const answered = answer(message, response).finally(() => pending.delete(answered));
    pending.add(answered);
  });
  const stop = async (): Promise<void> => {
    server.close();
    await Promise.all(pending);
    server.closeAllConnections();
  };
  return { server, stop };
}
