/** `layer repair`: one layer mended, from its blob, from its own tree, or from the registry. */
import { UserError } from '../../base/errno.js';
import { liveMounts } from '../../client/ask.js';
import { open } from 'node:fs/promises';
import { packLayer } from '../../archive/pack.js';
import { digestFile, publishBlob } from '../content/ingest.js';
import { remakeManifests } from '../images/remake.js';
import { MEDIA } from '../content/documents.js';
import { readLayer } from '../layers/add.js';
import type { LayerRecord } from '../layers/records.js';
import { type Checked, checkLayer, packsTo } from '../layers/verify.js';
import { publishRename } from '../state/files.js';
import { type Digest, hexOf, newId, shortId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { discard } from '../state/trash.js';
import { refetchBlob } from '../transfer/refetch.js';
import { bytes } from '../../sys/paths.js';
import { loadNative } from '../../sys/native.js';
import { AT_FDCWD, RENAME_EXCHANGE } from '../../sys/constants.js';
import { errnoText, E } from '../../base/errno.js';
import { syncDirectory } from '../state/files.js';

/** What was done; empty: nothing was wrong. */
type Repairs = readonly string[];

/** Mends a layer. Throws UserError when it cannot, and then nothing has been changed for the worse. */
export async function repairLayer(store: Store, diffId: Digest): Promise<Repairs> {
  const lease = await store.lease();
  try {
    const checked = await checkLayer(store, lease, diffId, store.sync);
    return [
      ...(await mendBlob(store, lease, checked)),
      ...(await mendTree(store, lease, diffId, checked)),
    ];
  } finally {
    lease.release();
  }
}

async function mendBlob(store: Store, lease: Lease, checked: Checked): Promise<string[]> {
  if (checked.blob === undefined) return [];
  const reasons: string[] = [];
  if (await refetchBlob(store, lease, checked.record.blob, reasons)) {
    return [`blob ${shortId(checked.record.blob)} was fetched again`];
  }
  if (!checked.judged) {
    throw new UserError(
      [`layer ${shortId(checked.layer)} cannot be mended: ${checked.blob}`, ...reasons].join('; '),
    );
  }
  await packAgain(store, lease, checked.layer);
  return [`the blob of layer ${shortId(checked.layer)} was made anew from its files`];
}

/** The tree is right and the blob is lost: the tar is packed again, and manifests name the new blob. */
export async function packAgain(store: Store, lease: Lease, layer: Digest): Promise<void> {
  const record = readLayer(store, layer);
  if (!record) throw new UserError(`No such layer: ${shortId(layer)}`);
  const packing = await packsTo(store, layer);
  if (!packing) throw new UserError(`layer ${shortId(layer)} has changed meanwhile`);
  const path = `${lease.directory}/${newId().slice(0, 16)}`;
  const file = await open(bytes(path), 'wx', 0o644);
  try {
    await packLayer(
      packing.source,
      async (chunk) => {
        for (let done = 0; done < chunk.length; ) {
          done += (await file.write(chunk, done, chunk.length - done)).bytesWritten;
        }
      },
      { style: packing.style },
    );
  } finally {
    await file.close();
  }
  const { digest, size } = await digestFile(path);
  if (digest !== layer) throw new UserError(`layer ${shortId(layer)} has changed meanwhile`);
  await publishBlob(store, lease, path, digest);
  const blob = { mediaType: MEDIA.layer, digest, size };
  await store.locked(() => {
    remakeManifests(store, record.blob, blob);
    const mended: LayerRecord = {
      ...record,
      blob: digest,
      blobSize: size,
      mediaType: MEDIA.layer,
      uses: [`blobs/${hexOf(digest)}`],
    };
    store.publish('layers', hexOf(layer), mended);
  });
}

/** A mount reads the layer's files at any time: they must not change under it. */
async function refuseMounted(tree: string): Promise<void> {
  const mount = (await liveMounts()).find(({ lowers }) => lowers.includes(tree));
  if (!mount) return;
  throw new UserError(
    `the layer is in use by the mount on ${Buffer.from(mount.mountpoint, 'latin1').toString('utf8')}: stop what runs there, and repair again`,
  );
}

async function mendTree(
  store: Store,
  lease: Lease,
  diffId: Digest,
  before: Checked,
): Promise<string[]> {
  // The blob was just fetched: only now the tree can be judged.
  const checked =
    before.blob === undefined || before.judged
      ? before
      : await checkLayer(store, lease, diffId, store.sync);
  if (checked.differences.length === 0) return [];
  if (checked.fresh === undefined) throw new UserError(`layer ${shortId(diffId)}: ${checked.blob}`);
  const tree = store.dataOf('layers', hexOf(diffId));
  await refuseMounted(tree);
  await store.locked(() => {
    exchange(store, checked.fresh!, tree);
  });
  const count = checked.differences.length;
  return [
    `layer ${shortId(diffId)} was unpacked again: ${count} path${count === 1 ? '' : 's'} had changed`,
  ];
}

/** Puts `fresh` in the place of `tree` in one step; the old one goes with the lease. */
function exchange(store: Store, fresh: string, tree: string): void {
  const result = loadNative().renameat2(AT_FDCWD, fresh, AT_FDCWD, tree, RENAME_EXCHANGE);
  if (result === -E.ENOENT) publishRename(fresh, tree, store);
  else if (result === -E.EINVAL) {
    // A file system without RENAME_EXCHANGE: the layer is missing for a moment, which fsck mends.
    discard(store.root, tree);
    publishRename(fresh, tree, store);
  } else if (result < 0) throw new UserError(`cannot replace the layer: ${errnoText(result)}`);
  else if (store.sync) syncDirectory(`${store.root}/layers`);
}
