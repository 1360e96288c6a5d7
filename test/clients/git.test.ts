import { mkdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { bash } from './support/run.js';
import { MOUNTS, withScratch, withUnion } from './support/union.js';

const IDENTITY = {
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@example.org',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@example.org',
  GIT_CONFIG_NOSYSTEM: '1',
};

/** 400 files in 40 directories, three commits, one packed. */
const MAKE_REPOSITORY = `
git init -q -b main repo; cd repo
for d in $(seq 40); do mkdir d$d; for f in $(seq 10); do echo "$d $f" > d$d/f$f; done; done
git add .; git commit -q -m one; git gc -q
for d in $(seq 20); do echo changed >> d$d/f1; git rm -q d$d/f2; done; git add .; git commit -q -m two
chmod +x d1/f3; ln -s f3 d1/link; git mv d40 moved; git add .; git commit -q -m three`;

describe.skipIf(!has({ ...MOUNTS, programs: ['git'] }))('git on the mount', () => {
  it('clones, reports a clean status, commits and checks out, over a repository in a lower layer', async () => {
    await withScratch(async (dir) => {
      const env = { ...IDENTITY, HOME: dir };
      const lower = `${dir}/lower`;
      await mkdir(lower);
      await bash(MAKE_REPOSITORY, { cwd: lower, env });
      await withUnion('stratafs', [lower], async ({ mountpoint }) => {
        const git = (script: string): Promise<string> =>
          bash(script, { cwd: mountpoint, env }).then((done) => done.stdout.trim());

        expect(await git('git -C repo status --porcelain')).toBe('');
        await git('git clone -q repo clone && git clone -q --no-hardlinks repo other');
        expect(await git('git -C clone status --porcelain')).toBe('');
        expect(await git('git -C clone rev-list --count HEAD')).toBe('3');

        await git('cd clone; git rm -rq d1 d2; mkdir d1; echo new > d1/f1; git add d1');
        expect(await git('git -C clone diff --cached --name-only | wc -l')).toBe('19');
        await git(
          'git -C clone commit -q -m four; git -C clone push -q origin HEAD:refs/heads/four',
        );
        await git('git -C repo checkout -q four; git -C repo checkout -q main~2');
        expect(await git('git -C repo status --porcelain')).toBe('');
        expect(await git('cat repo/d1/f2')).toBe('1 2');
        await git('git -C repo checkout -q main; git -C repo gc -q --prune=now');
        expect(await git('for r in repo clone other; do git -C $r fsck --full 2>&1; done')).toBe(
          '',
        );
      });
    });
  });
});
