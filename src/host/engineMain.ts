/** The program of an engine thread: the engine, and those checks of the host that run on its thread. */
import { parentPort } from 'node:worker_threads';
import { EngineThread } from '../fuse/engineThread.js';
import { AT_FDCWD, OPEN_TREE_CLONE } from '../sys/constants.js';
import type { Sys } from '../sys/sys.js';
import { checkIncompat, checkPlan, type Question } from './checks.js';

/**
 * A caller waits for this thread once for each request, as it would wait for the kernel; behind every busy
 * process of the machine it would wait for its turn each time (docs/performance.md). Refused without
 * CAP_SYS_NICE, and then things stay as they are.
 */
const PRECEDENCE = -10;

/** A private clone of the mount at `path` can be made, as openLayer makes one of a lower. */
function canClone({ native }: Sys, path: string): boolean {
  const clone = native.openTree(AT_FDCWD, path, OPEN_TREE_CLONE);
  if (clone >= 0) native.close(clone);
  return clone >= 0;
}

function check(sys: Sys, question: unknown): unknown {
  const asked = question as Question;
  if (asked.kind === 'volatile') {
    checkIncompat(asked.work);
    return undefined;
  }
  return checkPlan(asked.plan, {
    layersOf: (device) => asked.layers.get(device),
    clones: (path) => canClone(sys, path),
  });
}

if (parentPort) {
  const engine = new EngineThread(parentPort, check);
  engine.takePrecedence(PRECEDENCE);
  engine.run();
}
