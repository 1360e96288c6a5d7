/** A container's state in Docker's words. */
import type { ContainerManifest } from '../../store/containers/records.js';
import { publishedPorts } from '../../store/containers/network.js';
import { currentState, type ContainerState } from '../../store/containers/state.js';
import { findImage } from '../../store/images/find.js';
import { shortId } from '../../store/state/ids.js';
import type { Store } from '../../store/state/store.js';
import { UserError } from '../../base/errno.js';
import { ago, humanDuration } from '../frame/human.js';

const seconds = (time: string): number => Math.max(0, (Date.now() - Date.parse(time)) / 1000);

/** The name under which it was made leads to another image now, or to none. */
export function imageMoved(store: Store, { image, config }: ContainerManifest): boolean {
  try {
    return findImage(store, config.Image) !== image;
  } catch (error) {
    // The beginning of an ID that has become ambiguous.
    if (error instanceof UserError) return false;
    throw error;
  }
}

/** As `ps` shows it: `Up 5 minutes`, `Exited (0) 3 days ago`. */
export function statusText(state: ContainerState, updated = false): string {
  const note = updated ? ' (image updated)' : '';
  switch (state.status) {
    case 'created':
      return 'Created';
    case 'running':
      return `Up ${humanDuration(seconds(state.startedAt))}${note}`;
    case 'paused':
      return `Up ${humanDuration(seconds(state.startedAt))} (Paused)${note}`;
    case 'restarting':
      return `Restarting (${state.exitCode}) ${ago(state.finishedAt)}`;
    case 'exited':
      return `Exited (${state.exitCode}) ${ago(state.finishedAt)}${note}`;
  }
}

/** `0.0.0.0:8080->80/tcp`, of a running container; exposed ports that are not published without an arrow. */
export function portsText({ host, config }: ContainerManifest, state: ContainerState): string {
  if (state.status !== 'running' && state.status !== 'paused') return '';
  const published = publishedPorts(host).map(
    ({ hostIp, hostPort, port, protocol }) =>
      `${hostIp === '' ? '0.0.0.0' : hostIp}:${hostPort}->${port}/${protocol}`,
  );
  const exposed = Object.keys(config.ExposedPorts ?? {}).filter(
    (port) => !Object.hasOwn(host.PortBindings, port),
  );
  return [...published, ...exposed].join(', ');
}

/** What is shown for the image: its name, or its ID where the name leads to another one now. */
export const imageText = (store: Store, container: ContainerManifest): string =>
  imageMoved(store, container) ? shortId(container.image) : container.config.Image;

export const commandLine = ({ config }: ContainerManifest): string =>
  [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])].join(' ');

export const stateOf = (store: Store, { id }: ContainerManifest): ContainerState =>
  currentState(store, id).state;
