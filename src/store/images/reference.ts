/**
 * Names of images, parsed as Docker parses them: `[HOST[:PORT]/][NAMESPACE/]NAME[:TAG][@DIGEST]`
 * (github.com/distribution/reference: regexp.go, normalize.go).
 */
import { UserError } from '../../base/errno.js';
import { type Digest, isDigest } from '../state/ids.js';

export interface Reference {
  /** `docker.io`, `localhost`, `registry:5000` … */
  readonly host: string;
  /** With the namespace: `library/debian`. */
  readonly path: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const DEFAULT_HOST = 'docker.io';
const OFFICIAL = 'library/';
const MAX_NAME = 255;

const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const HOST = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const TAG = '\\w[\\w.-]{0,127}';
const DIGEST = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const WHOLE = new RegExp(
  `^(${HOST})/(${COMPONENT}(?:/${COMPONENT})*)(?::(${TAG}))?(?:@(${DIGEST}))?$`,
);
const IDENTIFIER = /^[a-f0-9]{64}$/;

/** Splits off what is a host: it has a dot, a port or a capital, or is `localhost`. */
function splitHost(text: string): [host: string, rest: string] {
  const slash = text.indexOf('/');
  const first = text.slice(0, Math.max(slash, 0));
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const [host, rest] = slash >= 0 && isHost ? [first, text.slice(slash + 1)] : [DEFAULT_HOST, text];
  const known = host === 'index.docker.io' ? DEFAULT_HOST : host;
  return [known, known === DEFAULT_HOST && !rest.includes('/') ? OFFICIAL + rest : rest];
}

/** Parses a reference; no tag is inferred. Throws UserError with Docker's words. */
export function parseReference(text: string): Reference {
  if (IDENTIFIER.test(text)) {
    throw new UserError(
      `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    );
  }
  const [host, rest] = splitHost(text);
  const name = rest.split(/[:@]/, 1)[0];
  if (name !== name.toLowerCase()) {
    throw new UserError(
      `invalid reference format: repository name (${shown(name)}) must be lowercase`,
    );
  }
  const match = WHOLE.exec(`${host}/${rest}`);
  if (!match) throw new UserError(`invalid reference format: '${shown(text)}'`);
  const [, , path, tag, digest] = match as unknown as [string, string, string, string?, string?];
  if (path.length > MAX_NAME) {
    throw new UserError(`repository name must not be more than ${MAX_NAME} characters`);
  }
  if (digest !== undefined && !isDigest(digest)) {
    throw new UserError(`unsupported digest '${shown(digest)}': sha256 and 64 lower-case digits`);
  }
  return {
    host,
    path,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

const shown = (text: string): string =>
  text.length > 100 ? `${text.slice(0, 100)}…` : text.replace(/[^\x20-\x7e]/g, '?');

/** The same with the tag `latest` where neither tag nor digest was given. */
export const withDefaultTag = (reference: Reference): Reference =>
  reference.tag === undefined && reference.digest === undefined
    ? { ...reference, tag: 'latest' }
    : reference;

/** `docker.io/library/debian`: the repository, in full. */
export const repositoryName = ({ host, path }: Reference): string => `${host}/${path}`;

/** As people read it: without `docker.io/` and `library/`. */
export function familiarRepository({ host, path }: Reference): string {
  if (host !== DEFAULT_HOST) return `${host}/${path}`;
  const short = path.slice(OFFICIAL.length);
  return path.startsWith(OFFICIAL) && !short.includes('/') ? short : path;
}

const suffix = ({ tag, digest }: Reference): string =>
  `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;

/** `debian:12`, `registry:5000/a/b@sha256:…`. */
export const familiar = (reference: Reference): string =>
  familiarRepository(reference) + suffix(reference);

/** `docker.io/library/debian:12`: nothing left out. */
export const canonical = (reference: Reference): string =>
  repositoryName(reference) + suffix(reference);
