/** The processes of a container, as this machine numbers them. */
import { readdirSync, readlinkSync } from 'node:fs';
import { errnoOf } from '../../sys/paths.js';
import type { Store } from '../state/store.js';
import { runtimeOf } from './lifecycle.js';
import type { ContainerManifest } from './records.js';
import { runtime } from './runtime.js';
import type { ContainerState } from './state.js';

function namespaceOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch (error) {
    // It has ended meanwhile.
    errnoOf(error);
    return '';
  }
}

/** By its PID namespace; where it has none of its own, the runtime knows by its cgroup. */
export async function processesOf(
  store: Store,
  container: ContainerManifest,
  state: ContainerState,
): Promise<ReadonlySet<number>> {
  if (container.host.PidMode === 'host') {
    const text = await runtime(store, runtimeOf(container), [
      'ps',
      '--format',
      'json',
      container.id,
    ]);
    return new Set(JSON.parse(text) as number[]);
  }
  const own = namespaceOf(state.pid);
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return new Set(all.map(Number).filter((pid) => own !== '' && namespaceOf(pid) === own));
}
