/**
 * `stratafs build`: the same Dockerfiles built by buildah, with equal trees and equal settings; the cache;
 * hostile contexts and images.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { differences, manifest } from './support/manifest.js';
import { bash, run } from './support/run.js';
import { makeImages, type TestStore, testStore } from './support/store.js';
import { MOUNTS, mountUnion, unmount, unmountBelow } from './support/union.js';

const PROGRAMS = ['buildah', 'skopeo', 'busybox', 'runc', 'setfattr', 'xz'];
const MINUTES = 60_000;

/** Trees of two builders: times differ, and so does what either mounts on. */
const LOOSE = { times: false, without: /^\/(proc|sys|dev|run|etc\/(hosts|resolv.conf|hostname))$/ };

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('build', () => {
  let store: TestStore;
  let context: string;
  let count = 0;
  const buildah = (...args: string[]) =>
    run('buildah', ['--root', `${store.dir}/bs2`, '--runroot', `${store.dir}/br2`, ...args], {
      env: { STORAGE_DRIVER: 'vfs', BUILDAH_ISOLATION: 'chroot' },
      timeout: 2 * MINUTES,
    });

  beforeAll(async () => {
    store = await testStore();
    await makeImages(store.dir);
    await store.ok('load', '-q', '-i', `${store.dir}/base.tar`);
    await buildah('pull', '-q', `docker-archive:${store.dir}/base.tar`);
    context = `${store.dir}/context`;
    await bash(
      `set -e; mkdir -p "$C"/dir/sub "$C"/node_modules/x "$C"/many; cd "$C"
echo a > a.txt; echo b > dir/b.txt; echo c > dir/sub/c.md; echo d > dir/sub/d.txt; ln -s b.txt dir/l; ln -s a.txt link
chmod 751 dir/sub; chmod 755 dir/sub/d.txt; touch -d 2001-02-03 a.txt; chown 7:8 a.txt; ln dir/b.txt dir/hard
echo skip > node_modules/x/y; for i in 1 2 3; do echo $i > many/f$i.conf; done; echo z > many/z
tar cf t.tar -C dir .; tar czf t.tgz -C dir .; tar cJf t.txz -C dir .; setfattr -n user.k -v v a.txt
mkdir -p with\\ blank; echo w > 'with blank/w'; printf '**/*.md\\nnode_modules\\n!dir/keep.md\\n' > .dockerignore`,
      { env: { C: context } },
    );
  }, 5 * MINUTES);

  afterAll(async () => {
    await buildah('rm', '-a').catch(() => undefined);
    await unmountBelow(store.dir);
    await store.remove();
  });

  const build = (dockerfile: string, ...flags: string[]) =>
    store.run(['build', '--progress=plain', '-t', 'built:1', '-f', '-', ...flags, context], {
      input: dockerfile,
    });

  async function built(dockerfile: string, ...flags: string[]): Promise<string> {
    const { code, stderr } = await build(dockerfile, ...flags);
    expect(code, stderr).toBe(0);
    return stderr;
  }

  async function inspect(format: string, image = 'built:1'): Promise<unknown> {
    return JSON.parse(await store.ok('image', 'inspect', '-f', `{{json ${format}}}`, image));
  }

  /** Shows an image of ours; kernel overlayfs reads the layers. */
  async function withImage<T>(act: (root: string) => Promise<T>, image = 'built:1'): Promise<T> {
    const format = '{{.GraphDriver.Data.UpperDir}}{{with .GraphDriver.Data.LowerDir}}:{{.}}{{end}}';
    const layers = await store.ok('image', 'inspect', '-f', format, image);
    if (!layers.includes(':')) return act(layers);
    const at = `${store.dir}/mnt${count++}`;
    await mkdir(at);
    await run('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${layers}`, at]);
    try {
      return await act(at);
    } finally {
      await run('umount', [at]);
    }
  }

  const text = (path: string) => withImage((root) => readFile(`${root}/${path}`, 'utf8'));

  /** The same Dockerfile by both; resolves when trees and settings are the same. */
  async function same(dockerfile: string, ...flags: string[]): Promise<void> {
    const file = `${store.dir}/Dockerfile`;
    await writeFile(file, dockerfile);
    const name = `localhost/theirs:${count++}`;
    await buildah('bud', '-q', '--layers=false', '-t', name, '-f', file, ...flags, context);
    await built(dockerfile, ...flags);
    const container = (await buildah('from', name)).stdout.trim();
    const root = (await buildah('mount', container)).stdout.trim();
    // The root of buildah's driver vfs has a mode of its own.
    const tree = async (at: string) => {
      return new Map([...(await manifest(at, LOOSE))].filter(([path]) => path !== '/'));
    };
    const theirs = await tree(root);
    const found = await withImage(async (ours) => differences(await tree(ours), theirs));
    expect(found).toEqual([]);
    const document = await buildah('inspect', '--type', 'image', name);
    const { config } = (
      JSON.parse(document.stdout) as { OCIv1: { config: Record<string, unknown> } }
    ).OCIv1;
    const { Labels, ...rest } = config;
    const labels = { ...(Labels as Record<string, string>) };
    delete labels['io.buildah.version'];
    const ours = (await inspect('.Config')) as Record<string, unknown>;
    expect(ours).toMatchObject({ ...rest, Labels: labels });
    await buildah('rm', container);
  }

  describe('as buildah builds it', () => {
    it(
      'every setting',
      () =>
        same(
          `ARG TAG=1
FROM localhost/base:$TAG
ARG WHO="the world" NUM
ENV GREETING="hello \${WHO:-you}" OLD=x
ENV LATER=$OLD-\${NUM:-none} Q="a b"
LABEL a.b="c d" e=$NUM
WORKDIR /srv
WORKDIR app
EXPOSE 80 53/udp
VOLUME /data /more
USER 1000:1000
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/bin/echo", "a b"]
CMD ["c", "d"]
`,
          '--build-arg',
          'NUM=7',
        ),
      2 * MINUTES,
    );

    it(
      'COPY: directories, files, wildcards, links, modes, owners, .dockerignore',
      () =>
        same(`FROM localhost/base:1
COPY . /all/
COPY dir /one
COPY dir/ /one/two
COPY a.txt /renamed
COPY a.txt link /into/
COPY many/f?.conf many/z /etc/conf.d/
COPY --chown=1000:1001 --chmod=640 a.txt /etc/one
COPY ["with blank/w", "/with blank/"]
WORKDIR /w
COPY dir/sub .
COPY a.txt ./x
`),
      2 * MINUTES,
    );

    it(
      'ADD unpacks archives, stages are copied from, RUN removes and replaces',
      () =>
        same(`FROM localhost/base:1 AS made
RUN echo one > /o && chown 5:6 /o && mkdir -p /x/y && ln -s ../o /x/link && rm -r /data && mkdir /data && echo n > /data/n
FROM localhost/base:1
ADD t.tar /tar
ADD t.tgz /tgz/
ADD t.txz /txz/
COPY --from=made /o /x /from/
COPY --from=0 /data /data2
RUN rm /etc/one && echo new > /etc/old/a && mkdir -p /bin/more && chmod 700 /etc/old
RUN cat /from/o > /again
`),
      2 * MINUTES,
    );
  });

  describe('what buildah of this Debian does not know', () => {
    it('here-documents, scripts, mounts, secrets', async () => {
      await writeFile(`${store.dir}/secret`, 'hidden');
      const dockerfile = `FROM localhost/base:1
ARG N=5
RUN <<EOT
echo first $N > /h1
echo second >> /h1
EOT
RUN <<EOT
#!/bin/cat
line
EOT
RUN cat <<A > /h2; cat <<-'B' >> /h2
x $N
A
	y $N
B
COPY <<one <<"two" /h/
$N
one
$N
two
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --mount=type=bind,target=/b,rw \\
    --mount=type=secret,id=s,required echo x >> /c/n && touch /t/x /b/x && ls /b > /ls && cat /run/secrets/s > /s
RUN --mount=type=cache,target=/c --mount=type=bind,from=localhost/base:1,source=/etc,target=/e cat /c/n /e/one > /n
RUN --mount=type=secret,id=s,env=TOKEN echo $TOKEN > /env
`;
      await built(dockerfile, '--secret', `id=s,src=${store.dir}/secret`);
      expect(await text('h1')).toBe('first 5\nsecond\n');
      expect(await text('h2')).toBe('x 5\ny $N\n');
      expect([await text('h/one'), await text('h/two')]).toEqual(['5\n', '$N\n']);
      expect(await text('s')).toBe('hidden');
      expect(await text('env')).toBe('hidden\n');
      expect(await text('n')).toBe('x\none\n');
      // The bound context has what .dockerignore leaves, and what was written into it is gone.
      expect((await text('ls')).split('\n')).not.toContain('node_modules');
      expect((await run('ls', [context])).stdout.split('\n')).not.toContain('x');
      // Nothing of what was only mounted is in the image.
      const left = await withImage((root) =>
        bash(`ls -d ${root}/{c,t,b,e,run} 2>/dev/null || true`),
      );
      expect(left.stdout).toBe('');
    });

    it('ONBUILD, HEALTHCHECK, SHELL, and a target stage without those it does not need', async () => {
      const failed = await build(`FROM localhost/base:1
SHELL ["/bin/sh", "-ec"]
RUN false; true
`);
      expect([failed.code, failed.stderr]).toEqual([
        1,
        expect.stringContaining('Dockerfile:3: process "/bin/sh -ec false; true"') as string,
      ]);
      await built(`FROM localhost/base:1
ONBUILD RUN echo triggered > /trigger
HEALTHCHECK --interval=1m --start-period=5s CMD ["true"]
`);
      expect(await inspect('.Config.Healthcheck')).toEqual({
        Test: ['CMD', 'true'],
        Interval: 60e9,
        StartPeriod: 5e9,
      });
      await store.ok('tag', 'built:1', 'on:1');
      const said = await built(
        'FROM on:1 AS a\nFROM a AS b\nRUN echo b > /b\nFROM nowhere.invalid/x AS c\n',
        '--target=b',
      );
      expect(await text('trigger')).toBe('triggered\n');
      expect(said).not.toContain('nowhere');
    });

    it('--squash makes one layer of the same tree', async () => {
      const dockerfile = `FROM localhost/base:1
RUN rm -r /data /etc/one && mkdir /data && echo 1 > /data/x
RUN echo 2 > /data/y && rm /data/x && echo e > /etc/one
COPY dir /etc/old
RUN rm -r /etc/old && mkdir /etc/old && ln /data/y /etc/old/y
`;
      await built(dockerfile);
      await store.ok('tag', 'built:1', 'many:1');
      await built(dockerfile, '--squash');
      expect(((await inspect('.RootFS.Layers')) as string[]).length).toBe(2);
      await withImage(async (many) => {
        const whole = await manifest(many);
        expect(await withImage(async (one) => differences(await manifest(one), whole))).toEqual([]);
      }, 'many:1');
    });

    it('ADD of a URL, with its digest', async () => {
      const server = createServer((request, response) => {
        response.setHeader('last-modified', 'Tue, 02 Jan 2024 03:04:05 GMT');
        response.statusCode = request.url === '/f.bin' ? 200 : 404;
        response.end('content');
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      const url = `http://127.0.0.1:${port}`;
      try {
        await built(`FROM localhost/base:1\nADD ${url}/f.bin /d/\n`);
        expect(await text('d/f.bin')).toBe('content');
        const missing = await build(`FROM localhost/base:1\nADD ${url}/none /d/\n`);
        expect(missing.stderr).toContain('Dockerfile:2: ADD');
        const wrong = await build(
          `FROM localhost/base:1\nADD --checksum=sha256:${'0'.repeat(64)} ${url}/f.bin /d/\n`,
        );
        expect(wrong.stderr).toContain('its digest is sha256:ed7002b4');
      } finally {
        server.close();
      }
    });
  });

  describe('the cache', () => {
    const lines = (said: string) =>
      [
        ...said.matchAll(/^#(\d+) \[(.*)\n(?:(?!#\d+ (?:DONE|CACHED)).*\n)*?#\1 (DONE|CACHED)/gm),
      ].map(([, , name, state]) => `${name.replace(/\].*/, '')} ${state}`);
    const FILE = `FROM localhost/base:1
RUN echo one > /1
COPY many /many
RUN cat /many/* > /2
LABEL a=b
CMD x
`;

    it('a changed step builds itself and what follows, nothing before; the same build is the same image', async () => {
      await built(FILE);
      const id = await inspect('.Id');
      expect(lines(await built(FILE)).filter((line) => line.includes('CACHED'))).toEqual([
        '2/4 CACHED',
        '3/4 CACHED',
        '4/4 CACHED',
      ]);
      expect(await inspect('.Id')).toBe(id);
      // Times count for nothing, contents do.
      await bash(`touch ${context}/many/z`);
      await built(FILE);
      expect(await inspect('.Id')).toBe(id);
      await bash(`echo zz > ${context}/many/z`);
      const said = lines(await built(FILE));
      expect(said).toContain('2/4 CACHED');
      expect(said.filter((line) => line.startsWith('3/4') || line.startsWith('4/4'))).toEqual([
        '3/4 DONE',
        '4/4 DONE',
      ]);
      expect(await text('2')).toContain('zz');
      expect(lines(await built(FILE.replace('a=b', 'a=c'))).join()).not.toContain('4/4 DONE');
      expect(lines(await built(FILE, '--no-cache')).join()).not.toContain('CACHED');
    });

    it('an ARG or ENV that a RUN can see builds it again, one after it does not', async () => {
      const file = 'FROM localhost/base:1\nRUN echo a > /a\nARG X\nRUN echo $X > /x\n';
      await built(file, '--build-arg', 'X=1');
      const said = lines(await built(file, '--build-arg', 'X=2')).join();
      expect(said).toContain('2/3 CACHED');
      expect(said).toContain('3/3 DONE');
      expect(await text('x')).toBe('2\n');
    });

    it('builder prune ends it; images keep their layers', async () => {
      await built(FILE);
      await store.ok('builder', 'prune', '-f');
      expect(lines(await built(FILE)).join()).not.toContain('CACHED');
      expect(await store.ok('layer', 'verify')).not.toContain('bad');
    });

    it('SOURCE_DATE_EPOCH: the same steps give the same ID', async () => {
      const file = 'FROM localhost/base:1\nRUN date > /dev/null; touch /t\nCOPY dir /d\n';
      const ids = [];
      for (let i = 0; i < 2; i++) {
        await built(file, '--no-cache', '--build-arg', 'SOURCE_DATE_EPOCH=1600000000');
        ids.push(await inspect('.Id'));
      }
      expect(ids[0]).toBe(ids[1]);
      expect(await inspect('.Created')).toBe('2020-09-13T12:26:40.000Z');
    });
  });

  describe('hostile', () => {
    const outside = '/var/tmp/stratafs-build-outside';

    beforeAll(() => rm(outside, { recursive: true, force: true }));

    it('symlinks of the image lead nowhere outside it, in COPY, WORKDIR, USER and --chown', async () => {
      await mkdir(outside);
      await writeFile(`${outside}/passwd`, 'evil:x:4242:4242::/:/bin/sh\n');
      await built(`FROM localhost/base:1
RUN ln -s ${outside} /out && ln -s ../../../../../../../../../..${outside} /up && rm /etc/passwd && ln -s ${outside}/passwd /etc/passwd
COPY a.txt /out/a
COPY a.txt /up/b
WORKDIR /out/made
RUN echo x > y
`);
      expect((await run('ls', [outside])).stdout).toBe('passwd\n');
      expect(await text(`${outside}/a`)).toBe('a\n');
      expect(await text(`${outside}/made/y`)).toBe('x\n');
      await store.ok('tag', 'built:1', 'evil:1');
      for (const line of ['COPY --chown=evil a.txt /x', 'USER evil\nRUN true']) {
        const { code, stderr } = await build(`FROM evil:1\n${line}\n`);
        expect([code, stderr]).toEqual([
          1,
          expect.stringContaining('unable to find user evil') as string,
        ]);
      }
      await rm(outside, { recursive: true });
    });

    it('symlinks of the context lead nowhere outside it', async () => {
      await bash(
        `cd ${context}; ln -sfn /etc etcdir; ln -sfn ../../../../../../etc/shadow up; mkdir -p etc; echo mine > etc/shadow`,
      );
      const { code, stderr } = await build('FROM localhost/base:1\nCOPY etcdir/hostname /h\n');
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining('Dockerfile:2: there is nothing at /etcdir/hostname') as string,
      ]);
      // As if the context were the root: its own file.
      await built('FROM localhost/base:1\nCOPY up /u\n');
      expect(await text('u')).toBe('mine\n');
      await bash(`cd ${context}; rm -r etcdir up etc`);
    });

    it('what cannot be is one sentence with the line, and leaves nothing', async () => {
      await bash(`cd ${context}; mkdir -p odd; echo > odd/.wh.x; mkdir -p over/bin/sh`);
      const cases: [string, string][] = [
        ['COPY odd /odd', 'names that begin with .wh. stand for deletions'],
        ['COPY over/ /', 'cannot copy a directory over /bin/sh'],
        ['COPY a.txt a.txt /x', 'must be a directory and end with a /'],
        ['COPY none /x', 'there is nothing at /none in the context'],
        ['COPY node_modules/x/y /x', '.dockerignore leaves it out'],
        ['COPY --from=nostage.invalid/x /a /b', 'nostage.invalid'],
        ['COPY --chmod=9 a.txt /x', 'is no octal mode'],
        ['COPY --bad a.txt /x', 'COPY has no flag --bad'],
        ['RUN --mount=type=ssh true', 'type=ssh'],
        ['RUN --mount=type=secret,id=none,required true', 'secret none is required'],
        ['RUN exit 3', 'did not complete successfully: exit code: 3'],
        ['RUN ["/none"]', '/none'],
        ['WORKDIR /bin/busybox/x', '/bin/busybox is no directory in the image'],
        ['ENV X', 'ENV must have two arguments'],
      ];
      const before = await store.ok('images', '-aq', '--no-trunc');
      for (const [line, sentence] of cases) {
        const { code, stderr } = await build(`FROM localhost/base:1\n${line}\n`);
        expect([line, code]).toEqual([line, 1]);
        const last = stderr.trim().split('\n').at(-1) ?? '';
        expect(last).toContain(sentence);
        expect(last).toMatch(/^stratafs: Dockerfile:2: /);
      }
      expect(await store.ok('images', '-aq', '--no-trunc')).toBe(before);
      const mounts = await bash(`grep -c ${store.root} /proc/mounts || true`);
      expect(mounts.stdout.trim()).toBe('0');
      await bash(`cd ${context}; rm -r odd over`);
    });

    it('a union can be a context, and the image runs on our mount', async () => {
      const at = await mountUnion('stratafs', [context], `${store.dir}/union`);
      try {
        const file = 'FROM localhost/base:1\nCOPY many /m\nRUN ls /m > /l\n';
        const { code, stderr } = await store.run(['build', '-f', '-', '-q', at.mountpoint], {
          input: file,
        });
        expect(code, stderr).toBe(0);
      } finally {
        await unmount(at);
      }
    });
  });
});
