/** `RUN --mount=type=bind|cache|tmpfs|secret,…`. */
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import type { OciMount } from '../containers/oci.js';
import type { Placeholder } from '../containers/rootfs.js';
import type { Lock } from '../state/lock.js';
import { SourceTree } from './sourceTree.js';
import { bindDigest, bindRoot } from './binds.js';
import type { StageScope } from './scope.js';
import { absoluteIn } from './workdirStep.js';

type Fields = ReadonlyMap<string, string>;

export interface MountRequest {
  readonly type: 'bind' | 'cache' | 'tmpfs' | 'secret';
  readonly fields: Fields;
  /** Absolute, in the image. */
  readonly target: string;
}

/** A mount that is ready. */
export interface ReadyMount {
  readonly mount?: OciMount;
  readonly placeholder?: Placeholder;
  /** `KEY=value` for the process. */
  readonly env?: string;
  /** Held while the step runs. */
  readonly lock?: Lock;
}

const KNOWN: Readonly<Record<MountRequest['type'], readonly string[]>> = {
  bind: ['source', 'target', 'from', 'rw', 'ro'],
  cache: ['id', 'target', 'sharing', 'uid', 'gid', 'mode', 'ro'],
  tmpfs: ['target', 'size'],
  secret: ['id', 'target', 'required', 'mode', 'uid', 'gid', 'env'],
};

const OTHER_NAMES: Readonly<Record<string, string>> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  readonly: 'ro',
  readwrite: 'rw',
};

function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const word of text.split(',').filter(Boolean)) {
    const at = word.indexOf('=');
    const key = (at < 0 ? word : word.slice(0, at)).toLowerCase();
    fields.set(OTHER_NAMES[key] ?? key, at < 0 ? 'true' : word.slice(at + 1));
  }
  return fields;
}

/** Throws UserError for what is not known. */
export function parseMount(run: StageScope, text: string): MountRequest {
  const fields = fieldsOf(run.expand(text));
  const type = fields.get('type') ?? 'bind';
  fields.delete('type');
  if (type === 'ssh') {
    throw new UserError('--mount=type=ssh: there is no agent to forward to; give a secret instead');
  }
  if (!Object.hasOwn(KNOWN, type)) {
    throw new UserError(`--mount=type=${type} is not known: bind, cache, tmpfs or secret`);
  }
  const kind = type as MountRequest['type'];
  for (const key of fields.keys()) {
    if (!KNOWN[kind].includes(key)) throw new UserError(`--mount=type=${type} has no ${key}`);
  }
  const given = fields.get('target');
  const id = fields.get('id');
  const fallback = kind === 'secret' && id !== undefined ? `/run/secrets/${id}` : undefined;
  const target = given ?? fallback;
  if (target === undefined) throw new UserError(`--mount=type=${type} requires a target`);
  return { type: kind, fields, target: absoluteIn(run, target) };
}

const isTrue = (fields: Fields, key: string): boolean => {
  const value = fields.get(key) ?? 'false';
  if (!['true', 'false', '1', '0'].includes(value)) {
    throw new UserError(`--mount: ${key}=${value} is neither true nor false`);
  }
  return value === 'true' || value === '1';
};

function number(fields: Fields, key: string, fallback: number, base = 10): number {
  const text = fields.get(key);
  if (text === undefined) return fallback;
  if (!(base === 8 ? /^[0-7]{1,5}$/ : /^\d{1,10}$/).test(text)) {
    throw new UserError(`--mount: ${key}=${text} is no number`);
  }
  return Number.parseInt(text, base);
}

const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

/** What of a mount the step's result depends on: of a bind the content, of a cache and a secret only the name. */
export async function mountKey(
  run: StageScope,
  { type, fields, target }: MountRequest,
): Promise<unknown> {
  const plain = [type, target, [...fields].sort()];
  if (type !== 'bind') return plain;
  return [...plain, await bindDigest(run, fields.get('from'), fields.get('source') ?? '/')];
}

export async function prepareMount(run: StageScope, request: MountRequest): Promise<ReadyMount> {
  switch (request.type) {
    case 'bind':
      return bind(run, request);
    case 'cache':
      return cache(run, request);
    case 'tmpfs':
      return tmpfs(request);
    case 'secret':
      return secret(run, request);
  }
}

function tmpfs({ fields, target }: MountRequest): ReadyMount {
  const size = fields.get('size');
  if (size !== undefined && !/^\d+[kmg]?$/i.test(size)) {
    throw new UserError(`--mount: size=${size} is no number of bytes`);
  }
  const options = ['nosuid', 'nodev', 'mode=1777', ...(size === undefined ? [] : [`size=${size}`])];
  return {
    mount: { destination: target, type: 'tmpfs', source: 'tmpfs', options },
    placeholder: { path: target, kind: 'dir' },
  };
}

/** A union over the source, so that what is written is gone with the step, as BuildKit has it. */
async function bind(run: StageScope, { fields, target }: MountRequest): Promise<ReadyMount> {
  const from = fields.get('from');
  const writable = isTrue(fields, 'rw');
  const root = await bindRoot(run, from, writable);
  const tree = new SourceTree(root, from === undefined ? 'the context' : `from=${from}`);
  try {
    const [match] = tree.match(toLatin1(fields.get('source') ?? '/'));
    const source = utf8(match.path === '' ? root : `${root}/${match.path}`);
    const options = ['rbind', 'rprivate', writable ? 'rw' : 'ro'];
    return {
      mount: { destination: target, type: 'bind', source, options },
      placeholder: { path: target, kind: match.isDirectory ? 'dir' : 'file' },
    };
  } finally {
    tree.close();
  }
}

const SHARING = ['shared', 'private', 'locked'];
const WAIT_MS = 24 * 3600 * 1000;

async function cache(run: StageScope, { fields, target }: MountRequest): Promise<ReadyMount> {
  const { store } = run.build;
  const sharing = fields.get('sharing') ?? 'shared';
  if (!SHARING.includes(sharing)) {
    throw new UserError(`--mount: sharing=${sharing} is none of ${SHARING.join(', ')}`);
  }
  const id = createHash('sha256')
    .update(fields.get('id') ?? target)
    .digest('hex')
    .slice(0, 40);
  const { key, lock } = await claim(run, `cache-${id}`, sharing);
  const directory = store.dataOf('builds', key);
  await store.locked(() => {
    run.build.lease.keep(`builds/${key}`);
    if (store.has('builds', key)) return;
    mkdirSync(bytes(directory), { recursive: true });
    chownSync(bytes(directory), number(fields, 'uid', 0), number(fields, 'gid', 0));
    chmodSync(bytes(directory), number(fields, 'mode', 0o755, 8));
    store.publish('builds', key, {});
  });
  const options = ['rbind', 'rprivate', isTrue(fields, 'ro') ? 'ro' : 'rw'];
  return {
    mount: { destination: target, type: 'bind', source: utf8(directory), options },
    placeholder: { path: target, kind: 'dir' },
    ...(lock ? { lock } : {}),
  };
}

/** `locked` waits for who has it, `private` takes another one. */
async function claim(
  run: StageScope,
  key: string,
  sharing: string,
): Promise<{ key: string; lock?: Lock }> {
  const { store } = run.build;
  if (sharing === 'shared') return { key };
  if (sharing === 'locked') return { key, lock: await store.lockObject('builds', key, WAIT_MS) };
  for (let i = 0; ; i++) {
    const own = i === 0 ? key : `${key}-${i}`;
    try {
      return { key: own, lock: await store.lockObject('builds', own, 0) };
    } catch (error) {
      if (!(error instanceof UserError) || i > 100) throw error;
    }
  }
}

function secret(run: StageScope, { fields, target }: MountRequest): ReadyMount {
  const { build } = run;
  const id = fields.get('id') ?? target.slice(target.lastIndexOf('/') + 1);
  const found = build.options.secrets.find((each) => each.id === id);
  if (!found) {
    if (isTrue(fields, 'required'))
      throw new UserError(`secret ${id} is required: give --secret id=${id}`);
    return {};
  }
  const variable = fields.get('env');
  const env = variable === undefined ? {} : { env: `${variable}=${found.data.toString('utf8')}` };
  if (variable !== undefined && !fields.has('target')) return env;
  const directory = build.trees.directory('secret');
  const path = bytes(`${directory}/secret`);
  writeFileSync(path, found.data, { mode: 0o600 });
  chownSync(path, number(fields, 'uid', 0), number(fields, 'gid', 0));
  chmodSync(path, number(fields, 'mode', 0o400, 8));
  return {
    ...env,
    mount: {
      destination: target,
      type: 'bind',
      source: utf8(`${directory}/secret`),
      options: ['bind', 'rprivate', 'ro', 'nosuid', 'nodev', 'noexec'],
    },
    placeholder: { path: target, kind: 'file' },
  };
}
