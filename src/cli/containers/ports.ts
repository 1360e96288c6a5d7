/** `-p`, `-P` and `--expose`: ports of the container, and where they are published. */
import { createServer } from 'node:net';
import { UserError } from '../../base/errno.js';
import type { PortBinding } from '../../store/containers/records.js';

const MAX_PORT = 65_535;
const PROTOCOLS = ['tcp', 'udp', 'sctp'];

function range(text: string, whole: string): number[] {
  const match = /^(\d{1,5})(?:-(\d{1,5})|)$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] || match?.[1]);
  if (!match || first < 1 || last < first || last > MAX_PORT) {
    throw new UserError(`invalid port '${whole}': write [[IP:]PORT:]PORT[/tcp|udp]`);
  }
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function protocolOf(text: string, whole: string): [string, string] {
  const [ports, protocol = 'tcp'] = text.split('/');
  if (PROTOCOLS.includes(protocol.toLowerCase())) return [ports, protocol.toLowerCase()];
  throw new UserError(`invalid port '${whole}': tcp, udp or sctp`);
}

/** `80`, `80-90/udp`: as `ExposedPorts` has them. */
export function exposed(list: readonly string[]): Record<string, object> {
  return Object.fromEntries(
    list.flatMap((whole) => {
      const [ports, protocol] = protocolOf(whole, whole);
      return range(ports, whole).map((port) => [`${port}/${protocol}`, {}]);
    }),
  );
}

/** A port that nothing listens on now. */
async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return String(typeof address === 'object' ? (address?.port ?? 0) : 0);
}

type Bindings = Record<string, PortBinding[]>;

async function publish(into: Bindings, whole: string): Promise<void> {
  // An IPv6 address stands in brackets.
  const match = /^(?:(?:\[([0-9a-fA-F:]+)\]|([^:]*)):)?(?:([^:]*):)?([^:]+)$/.exec(whole);
  if (!match) throw new UserError(`invalid port '${whole}': write [[IP:]PORT:]PORT[/tcp|udp]`);
  const [, six, four, host] = match as (string | undefined)[];
  const [ports, protocol] = protocolOf(match[4], whole);
  // One part before the container's port is the port, and no address.
  const [ip, hostPorts] =
    host === undefined && six === undefined ? ['', four] : [six ?? four, host];
  const targets = range(ports, whole);
  const sources = hostPorts === undefined || hostPorts === '' ? [] : range(hostPorts, whole);
  if (sources.length > 0 && sources.length !== targets.length) {
    throw new UserError(`invalid ranges of ports: ${whole}: both must have the same length`);
  }
  for (const [i, port] of targets.entries()) {
    const HostPort = sources.length > 0 ? String(sources[i]) : await freePort();
    (into[`${port}/${protocol}`] ??= []).push({ HostIp: ip ?? '', HostPort });
  }
}

/** Docker's `PortBindings`; `all`: those of the image and `--expose`, too, at random ports. */
export async function portBindings(
  list: readonly string[],
  all: readonly string[],
): Promise<Bindings> {
  const bindings: Bindings = {};
  for (const whole of list) await publish(bindings, whole);
  for (const port of all) {
    bindings[port] ??= [{ HostIp: '', HostPort: await freePort() }];
  }
  return bindings;
}
