/** `stratafs doctor`: what this machine can do, what that means, and what to change. */
import { findHosts } from '../../client/hosts.js';
import { buildId, installRoot } from '../../sys/installed.js';
import { command } from '../frame/command.js';
import { safeText } from '../frame/names.js';
import { print } from '../frame/output.js';
import { wrap } from '../frame/wrap.js';
import { check, type Check, ok, type State } from './check.js';
import * as machine from './machine.js';
import { trial } from './trial.js';
import { upper } from './upper.js';

const MARKS: Readonly<Record<State, string>> = {
  ok: 'ok  ',
  note: 'note',
  warn: 'WARN',
  fail: 'FAIL',
};
const COLOURS: Readonly<Record<State, number>> = { ok: 32, note: 36, warn: 33, fail: 31 };
const INDENT = '      ';

async function hosts(): Promise<Check> {
  const { hosts: found, silent } = await findHosts(true);
  if (silent.length > 0) {
    const means = 'its mounts do not answer; whoever uses them waits';
    return check(
      'hosts',
      'warn',
      `the host at ${silent[0]} is stopped`,
      means,
      'continue it (kill -CONT), or end it (kill -KILL): stratafs host status',
    );
  }
  return ok('hosts', found.length === 0 ? 'no host runs' : `${found.length} hosts run and answer`);
}

const installation = (): Check =>
  ok(
    'installation',
    `stratafs in ${installRoot()}, build ${buildId()}, Node ${process.versions.node}`,
  );

async function examine(directory: string): Promise<Check[]> {
  const place = upper(directory);
  const writable = place.every(({ state }) => state !== 'fail');
  return [
    installation(),
    machine.kernel(),
    machine.device(),
    ...(writable ? await trial(directory) : []),
    ...place,
    machine.fusermount(),
    machine.allowOther(),
    machine.mountHelper(),
    machine.descriptors(),
    machine.timeouts(),
    machine.userNamespaces(),
    machine.security(),
    ...machine.programs(),
    await hosts(),
  ];
}

function forPeople({ state, found, means, cure }: Check): string {
  const colours = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  const mark = colours ? `\x1b[${COLOURS[state]}m${MARKS[state]}\x1b[0m` : MARKS[state];
  const lines = [
    found,
    ...(means === undefined ? [] : [`→ ${means}`]),
    ...(cure === undefined ? [] : [`→ to change it: ${cure}`]),
  ];
  const text = lines.map((line) => INDENT + wrap(safeText(line), INDENT, 80 - INDENT.length));
  return `${mark}${text.join('').slice(MARKS[state].length)}`;
}

/** 0: all that is needed is there. 1: something fails. */
const statusOf = (checks: readonly Check[]): number =>
  checks.some(({ state }) => state === 'fail') ? 1 : 0;

export const doctor = command({
  usage: 'doctor [OPTIONS]',
  about: 'Find out what this machine can do, what that means and what to change',
  flags: {
    dir: {
      kind: 'string',
      value: 'DIR',
      help: 'Where uppers are to lie (default: the current directory)',
    },
    json: {
      kind: 'bool',
      help: 'Print JSON: {"version":1,"checks":[{"id","state","found","means","cure"}]}',
    },
  },
  args: [0, 0],
  plain: true,
  notes: [
    'Mounts a small union in DIR and takes it away again. Exit status: 0 when nothing fails, 1 when no union can be mounted or DIR cannot hold an upper.',
  ],
  async run({ values }) {
    const checks = await examine(values.dir ?? '.');
    print(
      values.json
        ? `${JSON.stringify({ version: 1, checks }, undefined, 2)}\n`
        : checks.map(forPeople).join(''),
    );
    return statusOf(checks);
  },
});
