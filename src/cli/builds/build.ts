/** `build`: an image from a Dockerfile. */
import { readFileSync, writeFileSync } from 'node:fs';
import { errnoText, UserError } from '../../base/errno.js';
import { buildImage } from '../../store/builds/build.js';
import type { Secret } from '../../store/builds/options.js';
import { type Progress, silent } from '../../store/builds/progress.js';
import { parsePlatform } from '../../store/images/platform.js';
import { parseReference, withDefaultTag } from '../../store/images/reference.js';
import { openStore } from '../../store/state/store.js';
import { errnoOf } from '../../sys/paths.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';
import { standardInput } from '../images/input.js';
import { REGISTRY_FLAGS, registryOptions } from '../images/registryFlags.js';
import { LiveProgress } from './live.js';
import { PlainProgress } from './plain.js';

/** `KEY=value`; a bare key takes its value from the environment, as with Docker, and is left out without one. */
function pairs(
  words: readonly string[],
  flag: string,
  fromEnvironment: boolean,
): Map<string, string> {
  const found = new Map<string, string>();
  for (const word of words) {
    const at = word.indexOf('=');
    const key = at < 0 ? word : word.slice(0, at);
    if (key === '') throw new UserError(`${flag}=${word}: the name is missing`);
    const value = at >= 0 ? word.slice(at + 1) : fromEnvironment ? process.env[key] : '';
    if (value !== undefined) found.set(key, value);
  }
  return found;
}

/** `id=ID[,src=PATH|,env=VARIABLE]`, read now: a missing file ends the build before it begins. */
function secretOf(text: string): Secret {
  const fields = new Map<string, string>();
  for (const word of text.split(',')) {
    const at = word.indexOf('=');
    const key = at < 0 ? '' : word.slice(0, at);
    if (!['id', 'src', 'source', 'env', 'type'].includes(key)) {
      throw new UserError(`--secret=${text}: write id=ID,src=PATH or id=ID,env=VARIABLE`);
    }
    fields.set(key === 'source' ? 'src' : key, word.slice(at + 1));
  }
  const id = fields.get('id') ?? '';
  if (id === '') throw new UserError(`--secret=${text}: the id is missing`);
  const path = fields.get('src');
  const variable = fields.get('env') ?? (fields.get('type') === 'env' ? id : undefined);
  if (path === undefined && (variable !== undefined || process.env[id] !== undefined)) {
    const value = process.env[variable ?? id];
    if (value === undefined) throw new UserError(`--secret=${text}: ${variable ?? id} is not set`);
    return { id, data: Buffer.from(value, 'utf8') };
  }
  const file = path ?? id;
  try {
    return { id, data: readFileSync(file) };
  } catch (error) {
    throw new UserError(`--secret=${text}: cannot read ${file}: ${errnoText(errnoOf(error))}`);
  }
}

function progressOf(kind: string, quiet: boolean): Progress {
  if (quiet || kind === 'quiet') return silent;
  const isTerminal = process.stderr.isTTY && process.env['TERM'] !== 'dumb';
  if (kind === 'plain' || (kind === 'auto' && !isTerminal)) return new PlainProgress();
  if (kind === 'tty' && !process.stderr.isTTY) {
    throw new UserError('--progress=tty needs a terminal on standard error');
  }
  if (kind === 'tty' || kind === 'auto') return new LiveProgress();
  throw new UserError(`--progress=${kind} is none of auto, plain, tty, quiet`);
}

/** Ended by SIGINT and SIGTERM: what runs is stopped, and everything taken back. */
function interruptible(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      controller.abort(new UserError(`the build was interrupted (${signal})`));
    });
  }
  return controller.signal;
}

export default command({
  usage: 'build [OPTIONS] PATH|-',
  about: 'Build an image from a Dockerfile',
  args: [1, 1],
  flags: {
    ...REGISTRY_FLAGS,
    'add-host': { kind: 'list', help: 'Add a line to /etc/hosts of RUN steps (host:ip)' },
    'build-arg': { kind: 'list', help: 'Set build-time variables' },
    file: { kind: 'path', short: 'f', help: 'Name of the Dockerfile (default PATH/Dockerfile)' },
    iidfile: { kind: 'path', help: 'Write the image ID to a file' },
    label: { kind: 'list', help: 'Set metadata for an image' },
    network: { kind: 'string', help: 'Network of RUN steps: host (default) or none' },
    'no-cache': { kind: 'bool', help: 'Do not use the layer cache' },
    platform: { kind: 'string', help: 'Build for this platform' },
    progress: { kind: 'string', help: 'Kind of progress output: auto, plain, tty, quiet' },
    pull: { kind: 'bool', help: 'Always ask the registry for the images of FROM' },
    quiet: { kind: 'bool', short: 'q', help: 'Print only the image ID' },
    secret: { kind: 'list', help: 'A secret for RUN steps (id=ID,src=PATH or id=ID,env=NAME)' },
    squash: { kind: 'bool', help: 'Make one layer of those that the build adds' },
    tag: { kind: 'list', short: 't', help: 'Name and optionally a tag (name:tag)' },
    target: { kind: 'string', help: 'The stage to build' },
  },
  async run({ values, given, rawArgs: [context], globals }) {
    const tags = values.tag.map((text) => {
      const reference = parseReference(text);
      if (reference.digest !== undefined)
        throw new UserError(`invalid tag ${text}: it is a digest`);
      return withDefaultTag(reference);
    });
    const { network = 'host' } = values;
    if (network !== 'host' && network !== 'none' && network !== 'default') {
      throw new UserError(`--network=${network} is neither host nor none`);
    }
    const secrets = values.secret.map(secretOf);
    const progress = progressOf(values.progress ?? 'auto', values.quiet);
    const store = await openStore(globals);
    try {
      const id = await buildImage(store, {
        input: { context, file: values.file, stdin: standardInput },
        tags,
        target: values.target,
        buildArgs: pairs(values['build-arg'], '--build-arg', true),
        labels: pairs(values.label, '--label', false),
        platform: values.platform === undefined ? undefined : parsePlatform(values.platform),
        secrets,
        cache: !values['no-cache'],
        squash: values.squash,
        pull: values.pull,
        registry: registryOptions(values, given),
        network: network === 'default' ? 'host' : network,
        addHosts: values['add-host'],
        progress,
        signal: interruptible(),
      });
      progress.end();
      if (values.iidfile !== undefined) writeFileSync(Buffer.from(values.iidfile, 'latin1'), id);
      if (values.quiet || values.progress === 'quiet') print(`${id}\n`);
      return 0;
    } finally {
      progress.end();
    }
  },
});
