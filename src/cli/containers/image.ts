/** The image of `create` and `run`, pulled when it is to be. */
import { UserError } from '../../base/errno.js';
import { findImage, resolveImage } from '../../store/images/find.js';
import { parsePlatform } from '../../store/images/platform.js';
import { parseReference, withDefaultTag } from '../../store/images/reference.js';
import type { Store } from '../../store/state/store.js';
import { say } from '../frame/output.js';
import type { ContainerValues } from './request.js';

const POLICIES = ['always', 'missing', 'never'];

/** Sees to it that the image is here, as `--pull` says. Resolves with its exposed ports. */
export async function bringImage(
  store: Store,
  name: string,
  values: ContainerValues,
): Promise<string[]> {
  const policy = values.pull ?? 'missing';
  if (!POLICIES.includes(policy)) {
    throw new UserError(`invalid pull option: '${policy}': must be one of ${POLICIES.join(', ')}`);
  }
  const here = findImage(store, name) !== undefined;
  if (policy === 'always' || (!here && policy === 'missing')) {
    const reference = withDefaultTag(parseReference(name));
    if (!here && !values.quiet) say(`Unable to find image '${name}' locally`);
    const { pullImage } = await import('../../store/transfer/pull.js');
    await pullImage(store, reference, {
      ...(values.platform === undefined ? {} : { platform: parsePlatform(values.platform) }),
      progress: !values.quiet && process.stderr.isTTY,
    });
  }
  const { config } = resolveImage(store, name);
  return Object.keys(config.config?.ExposedPorts ?? {});
}
