import { describe, expect, it } from 'vitest';
import { parseDriver } from '../../../bench/drivers.js';
import { type BenchOptions, parseOptions } from '../../../bench/options.js';
import { dependencies } from '../../../bench/parts/debian.js';
import { schedule } from '../../../bench/runner.js';
import { perOperation } from '../../../bench/trials/fio.js';
import { trials } from '../../../bench/trials/all.js';
import { noResults, row, trialOf } from './values.js';

function options(...argv: string[]): BenchOptions {
  const parsed = parseOptions(argv, '/repository');
  if (typeof parsed === 'string' || 'compare' in parsed) throw new Error('no run');
  return parsed;
}
const names = (items: readonly { name: string }[]) => items.map(({ name }) => name);

describe('the command line', () => {
  it('chooses trials by set, by name, or by the beginning of a name', () => {
    expect(options().trials).toEqual(trials);
    expect(names(options('--only', 'fio-r,find').trials)).toEqual([
      'find',
      'fio-read',
      'fio-randread',
      'fio-randwrite',
    ]);
    const short = options('--set', 'short').trials;
    expect(short.every((trial) => trial.short)).toBe(true);
    expect(short.flatMap(({ rows }) => rows)).toHaveLength(18);
    expect(options('--quick').trials).toEqual(short);
    expect(options('--quick', '--set', 'full').trials).toEqual(trials);
  });

  it('refuses what it does not know', () => {
    expect(() => options('--only', 'fnid')).toThrow('There is no trial fnid');
    expect(() => options('--set', 'long')).toThrow('There is no set long');
    expect(() => options('--set', 'short', '--only', 'find')).toThrow('not both');
    expect(() => options('--rounds', '0')).toThrow('--rounds 0 is not a number of rounds');
    expect(() => options('--drivers', 'aufs')).toThrow('There is no driver aufs');
  });

  it('takes drivers by command', () => {
    expect(parseDriver('new = /opt/fo  -o {opts} {mnt} &')).toEqual({
      name: 'new',
      command: ['/opt/fo', '-o', '{opts}', '{mnt}'],
      server: 'stays',
      version: ['/opt/fo', '--version'],
    });
    expect(() => parseDriver('fo -o {opts}')).toThrow('does not say how to mount');
    expect(names(options('--driver', 'x=y {mnt}').drivers)).toContain('x');
    const named = options('--drivers', 'plain', '--driver', 'x=y {mnt}');
    expect(names(named.drivers)).toEqual(['plain directory', 'x']);
    const both = options('--drivers', 'x,plain', '--driver', 'x=y {mnt}');
    expect(names(both.drivers).toSorted()).toEqual(['plain directory', 'x']);
  });

  it('has each trial and each row once', () => {
    expect(new Set(names(trials)).size).toBe(trials.length);
    const rows = trials.flatMap((trial) => trial.rows.map(({ id }) => id));
    expect(new Set(rows).size).toBe(rows.length);
  });
});

describe('the order of a run', () => {
  const base = options('--drivers', 'plain,kernel overlayfs', '--rounds', '3');
  const parts = { homes: {}, failures: new Map([['huge', 'the disk is small']]) };

  it('turns round after each round; a trial has no more rounds than it wants', () => {
    const chosen = [trialOf('a', [row('a')]), trialOf('b', [row('b')], { rounds: 1 })];
    const drivers = base.drivers.slice(0, 2);
    const steps = schedule({ ...base, trials: chosen, drivers }, parts, noResults());
    const [first, second] = names(drivers);
    expect(steps.map(({ round, trial, driver }) => [round, trial.name, driver.name])).toEqual([
      [0, 'a', first],
      [0, 'a', second],
      [0, 'b', first],
      [0, 'b', second],
      [1, 'a', second],
      [1, 'a', first],
      [2, 'a', first],
      [2, 'a', second],
    ]);
  });

  it('leaves out what cannot be run, with the reason', () => {
    const chosen = [
      trialOf('a', [row('a')], { parts: ['huge'] }),
      trialOf('b', [row('b')], { programs: ['no-such-program'] }),
      trialOf('c', [row('c')], {
        refuses: ({ name }) => (name === 'plain directory' ? 'no' : undefined),
      }),
    ];
    const results = noResults();
    const drivers = base.drivers.slice(0, 2);
    const steps = schedule({ ...base, rounds: 1, trials: chosen, drivers }, parts, results);
    expect(steps.map(({ trial }) => trial.name)).toEqual(['c']);
    const reason = (trial: string) => results.reasons.get(trial)?.get('plain directory');
    expect(['a', 'b', 'c'].map(reason)).toEqual([
      'the disk is small',
      'no-such-program is not installed',
      'no',
    ]);
  });
});

describe('what others print', () => {
  it("fio's time for each operation", () => {
    const job = { read: { runtime: 0, total_ios: 0 }, write: { runtime: 250, total_ios: 500 } };
    const text = JSON.stringify({ jobs: [job] });
    expect(perOperation(text, 'write')).toBe(500);
    expect(() => perOperation(text, 'read')).toThrow('fio has done nothing');
  });

  it("dpkg's dependencies, with alternatives", () => {
    expect(dependencies('libc6 (>= 2.34), debconf (>= 0.5) | debconf-2.0, , awk:any')).toEqual([
      ['libc6'],
      ['debconf', 'debconf-2.0'],
      ['awk'],
    ]);
  });
});
