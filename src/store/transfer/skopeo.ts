/** skopeo: registries, their protocols, and everybody's credentials are its business. */
import { spawn } from 'node:child_process';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { repositoryName, type Reference } from '../images/reference.js';

export interface RegistryOptions {
  /** False: HTTP, and certificates that nobody vouches for; by default so for this machine's own registries. */
  readonly tlsVerify?: boolean;
  readonly authFile?: string;
  /** `USER:PASSWORD`. */
  readonly credentials?: string;
}

const PROGRAM = 'skopeo';
const MAX_OUTPUT = 16 << 20;

/** Docker's rule: a registry on a loopback address needs no TLS. */
const isLocal = (host: string): boolean =>
  /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(host);

/** skopeo's flags for one side, `src` or `dest` of a copy, or none for inspect. */
export function registryFlags(
  reference: Reference,
  { tlsVerify, authFile, credentials }: RegistryOptions,
  side: 'src' | 'dest' | '',
): string[] {
  const name = (flag: string): string => `--${side === '' ? '' : `${side}-`}${flag}`;
  const verify = tlsVerify ?? !isLocal(reference.host);
  return [
    ...(verify ? [] : [`${name('tls-verify')}=false`]),
    ...(authFile === undefined ? [] : ['--authfile', authFile]),
    ...(credentials === undefined ? [] : [name('creds'), credentials]),
  ];
}

/** `docker://host/path:tag`; a digest goes before a tag, as skopeo takes only one of them. */
export function registryName(reference: Reference): string {
  const { tag, digest } = reference;
  const name = `docker://${repositoryName(reference)}`;
  if (digest !== undefined) return `${name}@${digest}`;
  return `${name}:${tag ?? 'latest'}`;
}

/** The sentence in what skopeo (logrus) prints when it gives up. */
function sentence(stderr: string): string {
  const line = stderr.trimEnd().split('\n').at(-1) ?? '';
  const message = /level=fatal msg=("(?:[^"\\]|\\.)*"|\S+)/.exec(line)?.[1] ?? line;
  if (!message.startsWith('"')) return message;
  try {
    return JSON.parse(message) as string;
  } catch {
    return message.slice(1, -1);
  }
}

interface SkopeoOptions {
  readonly cwd?: string;
  /** Shows skopeo's own progress on stderr. */
  readonly progress?: boolean;
}

/** Runs skopeo; resolves with its stdout. Throws UserError with its reason. */
export function skopeo(args: readonly string[], options: SkopeoOptions = {}): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(PROGRAM, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: bytes(options.cwd).toString('utf8') }),
    });
    const output: Buffer[] = [];
    let size = 0;
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (options.progress === true) process.stderr.write(chunk);
      size += chunk.length;
      if (size > MAX_OUTPUT) child.kill('SIGKILL');
      else output.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString('utf8')).slice(-65_536);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'ENOENT'
          ? new UserError('registries need skopeo: install it (apt install skopeo)')
          : error,
      );
    });
    child.on('close', (code) => {
      if (size > MAX_OUTPUT) reject(new UserError('the registry’s answer is too long'));
      else if (code === 0) resolve(Buffer.concat(output));
      else reject(new UserError(sentence(stderr) || `skopeo ended with ${code}`));
    });
  });
}
