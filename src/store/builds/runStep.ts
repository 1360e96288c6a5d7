/** RUN: a command on the layers so far, and what it changes as the next layer. */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { packLayer } from '../../archive/pack.js';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { lowersOf, makeRootfs } from '../containers/rootfs.js';
import { PLACEHOLDERS, runCommand } from '../containers/step.js';
import { layerFormat } from '../layers/format.js';
import { makeLayer } from '../layers/make.js';
import type { LayerRecord } from '../layers/records.js';
import { newId } from '../state/ids.js';
import type { Instruction } from './parse/dockerfile.js';
import { jsonList } from './parse/words.js';
import type { Vertex } from './progress.js';
import {
  mountKey,
  type MountRequest,
  parseMount,
  prepareMount,
  type ReadyMount,
} from './runMounts.js';
import { shellOf } from './settings.js';
import { buildPlace, noteProcess } from './stale.js';
import type { StageScope } from './scope.js';
import { emptyDirectory } from './workdirStep.js';

/** Where a script of a here-document is shown, as BuildKit has it. */
const PIPES = '/dev/pipes';
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

interface RunRequest {
  readonly args: readonly string[];
  readonly mounts: readonly MountRequest[];
  readonly network: 'host' | 'none';
  /** A here-document with a `#!` line: a program. */
  readonly script: { readonly name: string; readonly text: string } | undefined;
}

function flagsOf(run: StageScope, { flags }: Instruction): Pick<RunRequest, 'mounts' | 'network'> {
  const mounts: MountRequest[] = [];
  let { network } = run.build.options;
  for (const { name, value = '' } of flags) {
    if (name === 'mount') mounts.push(parseMount(run, value));
    else if (name === 'network') {
      if (!['default', 'none', 'host'].includes(value)) {
        throw new UserError(`RUN --network=${value} is none of default, none, host`);
      }
      if (value !== 'default') network = value as typeof network;
    } else if (name === 'security') {
      if (value !== 'sandbox') throw new UserError(`RUN --security=${value} is not allowed here`);
    } else throw new UserError(`RUN has no flag --${name}`);
  }
  return { mounts, network };
}

/** The command line; here-documents as BuildKit gives them to the shell. */
function commandOf(
  run: StageScope,
  { args, heredocs }: Instruction,
): Pick<RunRequest, 'args' | 'script'> {
  const shell = shellOf(run.settings.config);
  const script = undefined;
  if (heredocs.length === 0) {
    if (args === '') throw new UserError('RUN requires at least one argument');
    return { args: jsonList(args) ?? [...shell, args], script };
  }
  const [first] = heredocs;
  if (heredocs.length > 1 || !/^<<-?["']?[^"'\s<>]+["']?$/.test(args)) {
    const documents = heredocs.map(({ name, content }) => `\n${content}${name}`);
    return { args: [...shell, `${args}${documents.join('')}\n`], script };
  }
  if (!first.content.startsWith('#!')) return { args: [...shell, first.content], script };
  const name = first.name.replaceAll('/', '_');
  return { args: [`${PIPES}/${name}`], script: { name, text: first.content } };
}

function environmentOf(run: StageScope): string[] {
  const env = new Map([...run.proxies(), ...run.args, ...run.environment()]);
  if (!env.has('PATH')) env.set('PATH', DEFAULT_PATH);
  return [...env].map(([key, value]) => `${key}=${value}`);
}

export async function runInstruction(run: StageScope, instruction: Instruction): Promise<void> {
  const command = commandOf(run, instruction);
  const request: RunRequest = { ...flagsOf(run, instruction), ...command };
  const { config } = run.settings;
  const mountKeys = [];
  for (const each of request.mounts) mountKeys.push(await mountKey(run, each));
  const what = [
    'RUN',
    ...[request.args, request.script ?? null, request.network, mountKeys],
    ...[[...run.args], config.Env ?? [], config.User ?? '', config.WorkingDir ?? ''],
    run.build.options.addHosts,
  ];
  const said = `RUN ${instruction.args}`;
  await run.step(said, what, (vertex) => run.build.running(() => execute(run, request, vertex)));
  const args = [...run.args].map(([key, value]) => ` ${key}=${value}`).join('');
  const before = run.args.size === 0 ? '' : `|${run.args.size}${args} `;
  run.note(`RUN ${before}${request.args.join(' ')}`, false);
}

/** Hands on what the step prints, line by line as it comes. */
function listen(child: ChildProcess, vertex: Vertex): void {
  for (const stream of [child.stdout, child.stderr]) {
    const decoder = new StringDecoder('utf8');
    stream?.on('data', (chunk: Buffer) => {
      vertex.output(decoder.write(chunk));
    });
  }
}

function scriptMount(run: StageScope, { script }: RunRequest): ReadyMount[] {
  if (!script) return [];
  const directory = run.build.trees.directory('script');
  const path = `${directory}/${toLatin1(script.name)}`;
  writeFileSync(bytes(path), script.text, { mode: 0o755 });
  return [
    {
      mount: {
        destination: PIPES,
        type: 'bind',
        source: Buffer.from(directory, 'latin1').toString('utf8'),
        options: ['rbind', 'rprivate', 'ro'],
      },
    },
  ];
}

const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

/** The command on the mounted root; resolves with its exit status. */
function start(
  run: StageScope,
  request: RunRequest,
  rootfs: string,
  ready: readonly ReadyMount[],
  vertex: Vertex,
): Promise<number> {
  const { store, lease, trees, options } = run.build;
  const { config } = run.settings;
  const id = newId();
  noteProcess(buildPlace(store, lease), id);
  return runCommand(store, {
    id,
    rootfs,
    bundle: utf8(trees.directory('bundle')),
    args: request.args,
    env: [...environmentOf(run), ...ready.flatMap(({ env }) => (env === undefined ? [] : [env]))],
    cwd: config.WorkingDir ?? '/',
    user: config.User ?? '',
    network: request.network,
    mounts: ready.flatMap(({ mount }) => (mount ? [mount] : [])),
    addHosts: options.addHosts,
    stdio: ['ignore', 'pipe', 'pipe'],
    started: (child) => {
      listen(child, vertex);
    },
    signal: options.signal,
  });
}

async function execute(run: StageScope, request: RunRequest, vertex: Vertex): Promise<LayerRecord> {
  const { build } = run;
  const { store, lease, trees, options } = build;
  const ready: ReadyMount[] = [];
  let merged: string | undefined;
  try {
    for (const each of request.mounts) ready.push(await prepareMount(run, each));
    ready.push(...scriptMount(run, request));
    const directory = emptyDirectory(build);
    const rootfs = { layers: run.trees, directory: utf8(directory) };
    makeRootfs(rootfs, [
      ...PLACEHOLDERS,
      ...ready.flatMap(({ placeholder }) => (placeholder ? [placeholder] : [])),
    ]);
    const [upper, work] = ['upper', 'work'].map((name) => `${rootfs.directory}/${name}`);
    const lowers = lowersOf(rootfs).map(toLatin1);
    merged = await trees.mount(lowers, { upper, work, durability: 'volatile' });
    const status = await start(run, request, utf8(merged), ready, vertex);
    options.signal.throwIfAborted();
    if (status !== 0) {
      throw new UserError(
        `process "${request.args.join(' ')}" did not complete successfully: exit code: ${status}`,
      );
    }
    // Unmounting writes what is still in the kernel to the upper.
    await trees.unmount(merged);
    merged = undefined;
    const { userxattr } = layerFormat();
    const source = { kind: 'changes', upper: toLatin1(upper), lowers, userxattr } as const;
    return await makeLayer(store, lease, run.layers, (sink) =>
      packLayer(source, sink, build.packOptions),
    );
  } finally {
    if (merged !== undefined) await trees.unmount(merged);
    for (const { lock } of ready) lock?.release();
  }
}
