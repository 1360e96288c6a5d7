/** A command that adds to the store: with a lease, and with nothing left when it fails. */
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { sweep } from './gc.js';

/** Runs `act` under a lease. When it fails, what it had added already and nobody else needs goes. */
export async function withLease<T>(store: Store, act: (lease: Lease) => Promise<T>): Promise<T> {
  const lease = await store.lease();
  try {
    return await act(lease);
  } catch (error) {
    lease.release();
    await sweep(store);
    throw error;
  } finally {
    lease.release();
  }
}
