/**
 * `fsck`: everything the store says about itself, checked against what is there. The order is that of need:
 * documents, then blobs, layers, images, names, users. Each part mends what the next one rests on.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { sweep } from '../collect/gc.js';
import { mark } from '../collect/mark.js';
import { blobPath, blobSize } from '../content/blobs.js';
import { digestFile } from '../content/ingest.js';
import { repositoryKey } from '../images/find.js';
import { writeIndex } from '../images/layoutIndex.js';
import type { ImageRecord, RepositoryRecord } from '../images/records.js';
import type { LayerRecord } from '../layers/records.js';
import { isSound, verifyLayer } from '../layers/verify.js';
import { unlessMissing } from '../state/files.js';
import { digestOf, hexOf, shortId, type Digest } from '../state/ids.js';
import { KINDS } from '../state/layout.js';
import type { Store } from '../state/store.js';
import { emptyTrash } from '../state/trash.js';
import { type Finding, Findings } from './findings.js';
import { rebuildImage, rebuildLayer, rebuildRepositories, restoreBlob } from './rebuild.js';
import { repairLayer } from './repair.js';

interface FsckOptions {
  /** Find, and change nothing. */
  readonly dryRun?: boolean;
  /** Read every blob and every file of every layer. */
  readonly deep?: boolean;
  /** Called with what is looked at next. */
  readonly onStep?: (step: string) => void;
}

/** Checks the store; resolves with what was wrong. Throws UserError when it cannot go on. */
export async function fsck(store: Store, options: FsckOptions = {}): Promise<readonly Finding[]> {
  const findings = new Findings(options.dryRun !== true);
  options.onStep?.('documents');
  await checkDocuments(store, findings);
  options.onStep?.('blobs');
  await checkBlobs(store, findings, options.deep === true);
  options.onStep?.('layers');
  await checkLayers(store, findings, options);
  options.onStep?.('names');
  await checkNames(store, findings);
  await checkUsers(store, findings);
  options.onStep?.('leftovers');
  await checkLeftovers(store, findings);
  return findings.all;
}

/** Every manifest is JSON and names itself. */
async function checkDocuments(store: Store, findings: Findings): Promise<void> {
  for (const kind of KINDS) {
    for (const key of store.list(kind)) {
      if (readable(store, () => store.read(kind, key)) && named(store, kind, key)) continue;
      const path = bytes(`${store.root}/state/${kind}/${key}.json`);
      await findings.add(`${kind}/${short(key)}`, 'its manifest is damaged', async () => {
        if (kind === 'images') return rebuildImage(store, digestOf(key));
        if (kind === 'layers') return rebuildLayer(store, digestOf(key));
        if (kind !== 'repositories') return undefined;
        rmSync(path);
        return (await rebuildRepositories(store)) ?? 'the damaged manifest was removed';
      });
    }
  }
}

const short = (key: string): string => (/^[0-9a-f]{64}$/.test(key) ? shortId(key) : key);

function readable(_store: Store, act: () => unknown): boolean {
  try {
    return act() !== undefined;
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
}

/** A manifest that is whole may still be another one's. */
function named(store: Store, kind: (typeof KINDS)[number], key: string): boolean {
  const manifest: unknown = store.read(kind, key);
  if (kind === 'images') return (manifest as ImageRecord).id === digestOf(key);
  if (kind === 'layers') return (manifest as LayerRecord).diffId === digestOf(key);
  if (kind !== 'repositories') return true;
  return repositoryKey((manifest as RepositoryRecord).name) === key;
}

/** Every blob that an image needs is there, with its size; `deep`: with its digest. */
async function checkBlobs(store: Store, findings: Findings, deep: boolean): Promise<void> {
  const needed = new Set<Digest>();
  for (const key of store.list('images')) {
    const record = safely(() => store.read('images', key) as ImageRecord);
    for (const use of record?.uses ?? []) {
      if (use.startsWith('blobs/')) needed.add(digestOf(use.slice('blobs/'.length)));
    }
  }
  for (const digest of needed) {
    const problem = await blobProblem(store, digest, deep);
    if (problem === undefined) continue;
    await findings.add(`blob ${shortId(digest)}`, problem, () => restoreBlob(store, digest));
  }
}

function safely<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

async function blobProblem(
  store: Store,
  digest: Digest,
  deep: boolean,
): Promise<string | undefined> {
  const size = blobSize(store, digest);
  if (size === undefined) return 'it is missing';
  const layer = store
    .list('layers')
    .map((key) => safely(() => store.read('layers', key) as LayerRecord))
    .find((record) => record?.blob === digest);
  if (layer && layer.blobSize !== size) return `it has ${size} bytes instead of ${layer.blobSize}`;
  // Small ones, configs and manifests, are read in any case.
  if (!deep && layer) return undefined;
  const found = await digestFile(blobPath(store, digest));
  return found.digest === digest ? undefined : 'its digest is another one';
}

/** Every layer that an image needs has its manifest and its tree; `deep`: and is what its diff id says. */
async function checkLayers(
  store: Store,
  findings: Findings,
  { deep, onStep }: FsckOptions,
): Promise<void> {
  const needed = new Set<Digest>(store.list('layers').map(digestOf));
  for (const key of store.list('images')) {
    const record = safely(() => store.read('images', key) as ImageRecord);
    for (const diffId of record?.layers ?? []) needed.add(diffId);
  }
  for (const diffId of needed) {
    const object = `layer ${shortId(diffId)}`;
    const record = safely(() => store.read('layers', hexOf(diffId)));
    if (!record) {
      await findings.add(object, 'it is missing', () => rebuildLayer(store, diffId));
    } else if (!existsSync(bytes(store.dataOf('layers', hexOf(diffId))))) {
      await findings.add(object, 'its files are missing', () => rebuildLayer(store, diffId));
    } else if (deep === true) {
      onStep?.(object);
      await verifyDeep(store, findings, diffId);
    }
  }
}

async function verifyDeep(store: Store, findings: Findings, diffId: Digest): Promise<void> {
  const verified = await verifyLayer(store, diffId);
  if (isSound(verified)) return;
  const { blob, differences } = verified;
  const problem = blob ?? `${differences.length} of its paths have changed`;
  await findings.add(`layer ${shortId(diffId)}`, problem, async () => {
    try {
      return (await repairLayer(store, diffId)).join('; ');
    } catch (error) {
      if (error instanceof UserError) return undefined;
      throw error;
    }
  });
}

/** Every tag and digest leads to an image. */
async function checkNames(store: Store, findings: Findings): Promise<void> {
  for (const key of store.list('repositories')) {
    const record = safely(() => store.read('repositories', key) as RepositoryRecord);
    if (!record) continue;
    for (const [kind, table] of [
      ['tags', record.tags],
      ['digests', record.digests],
    ] as const) {
      for (const [name, id] of Object.entries(table)) {
        if (store.has('images', hexOf(id))) continue;
        const object = `${record.name}${kind === 'tags' ? ':' : '@'}${name}`;
        await findings.add(object, `its image ${shortId(id)} is missing`, async () => {
          const rebuilt = await rebuildImage(store, id);
          if (rebuilt !== undefined) return rebuilt;
          await store.locked(() => {
            dropName(store, key, kind, name);
          });
          return 'the name was removed';
        });
      }
    }
  }
}

function dropName(store: Store, key: string, kind: 'tags' | 'digests', name: string): void {
  const record = store.read('repositories', key) as RepositoryRecord | undefined;
  if (!record) return;
  const left = Object.fromEntries(Object.entries(record[kind]).filter(([each]) => each !== name));
  const changed: RepositoryRecord = { ...record, [kind]: left };
  const ids = [...Object.values(changed.tags), ...Object.values(changed.digests)];
  if (ids.length === 0) store.remove('repositories', key);
  else {
    const uses = [...new Set(ids.map((id) => `images/${hexOf(id)}` as const))];
    const next: RepositoryRecord = { ...changed, uses };
    store.publish('repositories', key, next);
  }
}

/** What containers and volumes name exists. Their own data are their rooms' business. */
async function checkUsers(store: Store, findings: Findings): Promise<void> {
  const broken = await store.locked(() => {
    const readableOnly = safely(() => mark(store).broken);
    return readableOnly ?? [];
  });
  for (const { user, use } of broken) {
    if (use.startsWith('images/') && /^container /.test(user)) continue;
    if (/^(a tag|image |build )/.test(user)) continue;
    await findings.add(
      user,
      `it uses ${use.replace(/s\//, ' ')}, which is missing`,
      () => undefined,
    );
  }
  await checkBuilds(store, findings);
}

/** The layer cache: a step whose layer is gone is made again by the next build. */
async function checkBuilds(store: Store, findings: Findings): Promise<void> {
  for (const key of store.list('builds')) {
    const uses = safely(() => store.read('builds', key)?.uses) ?? [];
    const gone = uses.find(
      (use) => use.startsWith('layers/') && !store.has('layers', use.slice(7)),
    );
    if (gone === undefined) continue;
    await findings.add(`builds/${short(key)}`, 'the layer of this cached step is missing', () => {
      store.remove('builds', key);
      return 'removed from the cache';
    });
  }
}

/** What crashes have left, and an index that is out of date. */
async function checkLeftovers(store: Store, findings: Findings): Promise<void> {
  for (const path of temporaries(store)) {
    await findings.add(path.slice(store.root.length + 1), 'a crash left it', () => {
      rmSync(bytes(path), { force: true });
      return 'removed';
    });
  }
  if (!findings.mend) return;
  emptyTrash(store.root);
  const before = findings.all.length;
  const { removed } = await sweep(store);
  if (removed.length > 0) {
    const blobs = removed.filter((use) => use.startsWith('blobs/')).length;
    await findings.add(
      'content',
      `${removed.length - blobs} layers and ${blobs} blobs were used by nothing`,
      () => 'removed',
    );
  }
  const written = await store.locked(() => writeIndex(store));
  if (written && before === 0) {
    await findings.add('content/index.json', 'it was not what the images say', () => 'made again');
  }
}

/** Temporary files of publications whose process has ended. */
function temporaries(store: Store): string[] {
  const found: string[] = [];
  for (const directory of [
    ...KINDS.map((kind) => `state/${kind}`),
    'content/blobs/sha256',
    'content',
    '.',
  ]) {
    const path = `${store.root}/${directory}`;
    const all = unlessMissing(() => readdirSync(bytes(path), { encoding: 'latin1' })) ?? [];
    for (const name of all) {
      const pid = /^\.(\d+)-[0-9a-f]+\.tmp$/.exec(name)?.[1];
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) found.push(`${path}/${name}`);
    }
  }
  return found;
}
