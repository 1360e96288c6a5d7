/** The services of containerd's API, from the definitions in proto/. */
import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const DIRECTORY = fileURLToPath(new URL('../../../proto', import.meta.url));
const FILES = ['snapshots.proto', 'diff.proto', 'content.proto', 'leases.proto'];

/** Field names as in the definitions, 64-bit numbers as decimal text, enums by name, absent messages null. */
const definitions = loadSync(FILES, {
  includeDirs: [DIRECTORY],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
});

function service(name: string): ServiceDefinition {
  const definition = definitions[`containerd.services.${name}`];
  return definition as ServiceDefinition;
}

export const SNAPSHOTS = service('snapshots.v1.Snapshots');
export const DIFF = service('diff.v1.Diff');
export const CONTENT = service('content.v1.Content');
export const LEASES = service('leases.v1.Leases');

/** containerd's own limit of one message (defaults.DefaultMaxRecvMsgSize). */
export const MAX_MESSAGE = 16 << 20;
