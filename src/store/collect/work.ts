/** A command that adds to the store: with a lease, and with nothing left when it fails. */
import { HOLDERS, usersOf } from '../images/users.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { sweep } from './gc.js';

/** Removes an image again, unless somebody has begun to use it meanwhile. */
function withdraw(store: Store, key: string): void {
  const users = usersOf(store, `images/${key}`, ['repositories', ...HOLDERS]);
  if (users.length === 0) store.remove('images', key);
}

/** Runs `act` under a lease. When it fails, what it had added already and nobody else needs goes. */
export async function withLease<T>(store: Store, act: (lease: Lease) => Promise<T>): Promise<T> {
  const lease = await store.lease();
  try {
    return await act(lease);
  } catch (error) {
    lease.release();
    await store.locked(() => {
      for (const key of lease.added) withdraw(store, key);
    });
    await sweep(store);
    throw error;
  } finally {
    lease.release();
  }
}
