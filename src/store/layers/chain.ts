/** Chain ids: one for each stack of layers (OCI image-spec, config.md, "Layer ChainID"). */
import { createHash } from 'node:crypto';
import { type Digest, digestOf } from '../state/ids.js';

/** The chain id of each layer with all below it; `diffIds` bottom first, as the result. */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(
      below === undefined
        ? diffId
        : digestOf(createHash('sha256').update(`${below} ${diffId}`).digest('hex')),
    );
  }
  return chain;
}
