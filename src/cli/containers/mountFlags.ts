/** `-v`, `--mount` and `--tmpfs`. */
import { resolve } from 'node:path';
import { UserError } from '../../base/errno.js';
import type { MountRequest } from '../../store/containers/mounts.js';

const PROPAGATIONS = ['shared', 'slave', 'private', 'rshared', 'rslave', 'rprivate'];

const NONE: Omit<MountRequest, 'type' | 'source' | 'destination'> = {
  readOnly: false,
  propagation: '',
  noCopy: false,
  create: false,
  options: {},
  mode: '',
};

function mustBeAbsolute(path: string, whole: string): void {
  if (path.startsWith('/')) return;
  throw new UserError(`invalid volume '${whole}': '${path}' is no absolute path in the container`);
}

/** `[SOURCE:]DESTINATION[:MODE,...]`. */
export function parseVolume(whole: string): MountRequest {
  const parts = whole.split(':');
  if (parts.length > 3 || parts.some((part, i) => part === '' && i < 2)) {
    throw new UserError(`invalid volume '${whole}': write [SOURCE:]DESTINATION[:ro]`);
  }
  const [source, destination, mode = ''] = parts.length === 1 ? ['', parts[0]] : parts;
  mustBeAbsolute(destination, whole);
  const words = mode.split(',').filter((word) => word !== '');
  const known = ['ro', 'rw', 'nocopy', 'z', 'Z', ...PROPAGATIONS];
  const unknown = words.find((word) => !known.includes(word));
  if (unknown !== undefined) throw new UserError(`invalid volume '${whole}': mode ${unknown}`);
  const isPath = /^[/.~]/.test(source);
  if (source.startsWith('~')) throw new UserError(`invalid volume '${whole}': write the path out`);
  return {
    ...NONE,
    type: isPath ? 'bind' : 'volume',
    source: isPath ? resolve(source) : source,
    destination,
    readOnly: words.includes('ro'),
    propagation: words.find((word) => PROPAGATIONS.includes(word)) ?? '',
    noCopy: words.includes('nocopy'),
    create: isPath,
    mode,
  };
}

/** A line of comma-separated values, in which quotes keep commas (RFC 4180). */
function csv(text: string): string[] {
  const fields = text.match(/("(?:[^"]|"")*"|[^,]*)(,|$)/g) ?? [];
  return fields
    .map((field) =>
      field
        .replace(/,$/, '')
        .replace(/^"(.*)"$/s, '$1')
        .replaceAll('""', '"'),
    )
    .filter((field) => field !== '');
}

const isTrue = (text: string): boolean => !['false', '0'].includes(text);

interface Draft {
  type: string;
  source: string;
  destination: string;
  readOnly: boolean;
  propagation: string;
  noCopy: boolean;
  tmpfs: string[];
  options: Record<string, string>;
}

function takeField(draft: Draft, key: string, value: string, whole: string): void {
  switch (key) {
    case 'type':
      draft.type = value;
      break;
    case 'source':
    case 'src':
      draft.source = value;
      break;
    case 'target':
    case 'dst':
    case 'destination':
      draft.destination = value;
      break;
    case 'readonly':
    case 'ro':
      draft.readOnly = isTrue(value);
      break;
    case 'bind-propagation':
      if (!PROPAGATIONS.includes(value)) throw new UserError(`invalid propagation: ${value}`);
      draft.propagation = value;
      break;
    case 'volume-nocopy':
      draft.noCopy = isTrue(value);
      break;
    case 'volume-opt': {
      const at = value.indexOf('=');
      draft.options[value.slice(0, at)] = value.slice(at + 1);
      break;
    }
    case 'volume-driver':
      if (value !== 'local') throw new UserError(`there is no volume driver ${value}: local`);
      break;
    case 'tmpfs-size':
      draft.tmpfs.push(`size=${value}`);
      break;
    case 'tmpfs-mode':
      draft.tmpfs.push(`mode=${value}`);
      break;
    default:
      throw new UserError(`invalid --mount '${whole}': unexpected key '${key}'`);
  }
}

/** `type=bind,source=…,target=…[,readonly]`. */
export function parseMount(whole: string): MountRequest {
  const draft: Draft = {
    type: 'volume',
    source: '',
    destination: '',
    readOnly: false,
    propagation: '',
    noCopy: false,
    tmpfs: [],
    options: {},
  };
  for (const field of csv(whole)) {
    const at = field.indexOf('=');
    const [key, value] = at < 0 ? [field, 'true'] : [field.slice(0, at), field.slice(at + 1)];
    takeField(draft, key.toLowerCase(), value, whole);
  }
  const { type, source, destination, tmpfs, ...rest } = draft;
  if (type !== 'bind' && type !== 'volume' && type !== 'tmpfs') {
    throw new UserError(`invalid --mount '${whole}': type bind, volume or tmpfs`);
  }
  if (destination === '') throw new UserError(`invalid --mount '${whole}': target is required`);
  mustBeAbsolute(destination, whole);
  if (type === 'bind' && !source.startsWith('/')) {
    throw new UserError(`invalid --mount '${whole}': the source must be an absolute path`);
  }
  const mode = type === 'tmpfs' ? tmpfs.join(',') : rest.readOnly ? 'ro' : '';
  return { ...NONE, ...rest, type, source: type === 'tmpfs' ? '' : source, destination, mode };
}

/** `PATH[:OPTIONS]`. */
export function parseTmpfs(whole: string): MountRequest {
  const at = whole.indexOf(':');
  const [destination, mode] = at < 0 ? [whole, ''] : [whole.slice(0, at), whole.slice(at + 1)];
  mustBeAbsolute(destination, whole);
  const words = mode.split(',');
  const rest = words.filter((word) => word !== 'ro' && word !== 'rw').join(',');
  return {
    ...NONE,
    type: 'tmpfs',
    source: '',
    destination,
    readOnly: words.includes('ro'),
    mode: rest,
  };
}
