import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { bash, run } from './support/run.js';
import { MAPPED, QUESTIONS, type Answer, type Question } from './support/semantics.js';
import { mountUnion, MOUNTS, unmount, withScratch, type Driver } from './support/union.js';

const SEMANTICS = join(import.meta.dirname, '../../docs/semantics.md');
const DRIVERS: readonly Driver[] = ['stratafs', 'kernel', 'fuse-overlayfs'];
const PROGRAMS = ['fuse-overlayfs', 'gcc', 'strace', 'setfattr'];

/** Mounts `top` over `lower` (over empty layers), asks, unmounts. */
async function answer(question: Question, driver: Driver): Promise<Answer> {
  return withScratch(async (dir) => {
    const lowers = await layers(question, dir);
    const upperHome = `${dir}/union`;
    await mkdir(upperHome);
    if (question.smallUpper === true) {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'stratafs-test', upperHome]);
    }
    const ask = async (script: string): Promise<number> => {
      // A driver that refuses to mount such layers has answered, too.
      const union = await mountUnion(driver, lowers, upperHome).catch(() => undefined);
      if (union === undefined) return 1;
      const env = { LOWER: `${dir}/lower`, UPPER: union.upper, DIR: dir };
      const { code } = await bash(script, { cwd: union.mountpoint, env, mayFail: true });
      await unmount(union);
      return code;
    };
    if (question.before !== undefined) expect(await ask(question.before)).toBe(0);
    const code = await ask(question.ask);
    if (question.smallUpper === true) await run('umount', [upperHome]);
    return code === 0 ? 'yes' : 'no';
  });
}

async function layers(question: Question, dir: string): Promise<string[]> {
  const lowers = [`${dir}/top`, `${dir}/lower`];
  for (let i = 0; i < (question.moreLayers ?? 0); i++) lowers.push(`${dir}/more/${i}`);
  for (const path of lowers) await mkdir(path, { recursive: true });
  await bash(question.prepare, { cwd: `${dir}/lower`, env: { DIR: dir, MAPPED } });
  return lowers;
}

/** Other versions of fuse-overlayfs answer some questions in another way. */
async function drivers(): Promise<readonly Driver[]> {
  const { stdout } = await run('fuse-overlayfs', ['--version'], { mayFail: true });
  return /fuse-overlayfs: version 1\.10\b/.test(stdout) ? DRIVERS : DRIVERS.slice(0, 2);
}

describe.skipIf(!has({ ...MOUNTS, kernelOverlay: true, programs: PROGRAMS }))('semantics', () => {
  it.each(QUESTIONS)('$text', async (question) => {
    const asked = await drivers();
    const answers: Answer[] = [];
    for (const driver of asked) answers.push(await answer(question, driver));
    expect(answers).toEqual(question.answers.slice(0, asked.length));
  });

  it('are in docs/semantics.md as they are asked here', async () => {
    const rows = QUESTIONS.map(({ text, answers }) => `| ${text} | ${answers.join(' | ')} |`);
    const table = (await readFile(SEMANTICS, 'utf8'))
      .split('\n')
      .filter((l) => / (yes|no) \|$/.test(l));
    expect(table).toEqual(rows);
  });
});
