/** What pull and push say about the registry; the words are podman's and skopeo's. */
import type { RegistryOptions } from '../../store/transfer/skopeo.js';
import type { Flags, Values } from '../frame/flags.js';

export const REGISTRY_FLAGS = {
  authfile: {
    kind: 'string',
    value: 'path',
    help: 'The file with credentials (default: that of skopeo login)',
  },
  creds: { kind: 'string', value: 'user:password', help: 'Credentials for the registry' },
  'tls-verify': {
    kind: 'bool',
    on: true,
    help: 'Require HTTPS and verify certificates (default true; false for registries on localhost)',
  },
} as const satisfies Flags;

export function registryOptions(
  values: Values<typeof REGISTRY_FLAGS>,
  given: ReadonlySet<string>,
): RegistryOptions {
  return {
    ...(values.authfile === undefined ? {} : { authFile: values.authfile }),
    ...(values.creds === undefined ? {} : { credentials: values.creds }),
    ...(given.has('tls-verify') ? { tlsVerify: values['tls-verify'] } : {}),
  };
}
