/** The architectures that get packages: Node's name, Debian's, the compilers' prefix. */
import { spawnSync } from 'node:child_process';

export const TARGETS = [
  { cpu: 'x64', deb: 'amd64', triple: 'x86_64-linux-gnu' },
  { cpu: 'arm64', deb: 'arm64', triple: 'aarch64-linux-gnu' },
];

export const packageName = ({ cpu }) => `@stratafs/linux-${cpu}-gnu`;

/** The compiler for a target, with Debian's names; for this machine's own the usual one. */
export function tools({ cpu, triple }) {
  if (cpu === process.arch) return { CC: 'gcc', CXX: 'g++', LINK: 'g++', STRIP: 'strip' };
  const [CC, CXX, STRIP] = ['gcc', 'g++', 'strip'].map((tool) => `${triple}-${tool}`);
  return { CC, CXX, LINK: CXX, STRIP };
}

/** This machine's architecture, and those that it has a cross compiler for. */
export function buildable() {
  return TARGETS.filter((target) => {
    if (target.cpu === process.arch) return true;
    return spawnSync(tools(target).CXX, ['--version']).status === 0;
  });
}

/** Runs a program; ends the whole with one sentence when it fails. */
export function run(program, args, options = {}) {
  const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.error) fail(`cannot run ${program}: ${done.error.message}`);
  if (done.status === 0) return done.stdout;
  process.stderr.write(`${done.stdout ?? ''}${done.stderr ?? ''}`);
  return fail(`${program} ${args.join(' ')} failed`);
}

export function fail(sentence) {
  console.error(`package: ${sentence}`);
  process.exit(1);
}
