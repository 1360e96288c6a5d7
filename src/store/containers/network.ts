/**
 * A network of the container's own, connected by a program in user space: pasta, or slirp4netns where it is
 * missing. Neither needs privileges, so it is the same for root and for others.
 */
import { spawn, spawnSync, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Readable } from 'node:stream';
import { toLatin1 } from '../../base/bytes.js';
import { errnoText, UserError } from '../../base/errno.js';
import { MNT_DETACH } from '../../sys/constants.js';
import { loadNative } from '../../sys/native.js';
import { errnoOf } from '../../sys/paths.js';
import type { Store } from '../state/store.js';
import { signalProcess, startOf } from './process.js';
import { bundleOf, type HostConfig } from './records.js';
import { findProgram } from './runtime.js';
import type { ContainerState } from './state.js';

/** One published port. */
interface Published {
  readonly protocol: string;
  readonly hostIp: string;
  readonly hostPort: number;
  readonly port: number;
}

export function publishedPorts({ PortBindings }: Pick<HostConfig, 'PortBindings'>): Published[] {
  return Object.entries(PortBindings).flatMap(([key, bindings]) => {
    const [port, protocol = 'tcp'] = key.split('/');
    return bindings.map(({ HostIp, HostPort }) => ({
      protocol,
      hostIp: HostIp,
      hostPort: Number(HostPort),
      port: Number(port),
    }));
  });
}

const MS_BIND = 4096;

type Helper = 'pasta' | 'slirp4netns';

/** Which program connects private networks here. Throws UserError where there is none. */
function networkHelper(): readonly [Helper, string] {
  for (const name of ['pasta', 'slirp4netns'] as const) {
    const path = findProgram(name);
    if (path !== undefined) return [name, path];
  }
  throw new UserError(
    'a network of its own needs pasta or slirp4netns: apt-get install passt, or give --network host or none',
  );
}

/** The interface with the default route, and its router. */
function defaultRoute(): { readonly device: string; readonly gateway: string } | undefined {
  const rows = readFileSync('/proc/net/route', 'latin1').split('\n').slice(1);
  const row = rows.map((line) => line.split('\t')).find((fields) => fields[1] === '00000000');
  if (!row) return undefined;
  const number = Number.parseInt(row[2], 16);
  const gateway = [0, 8, 16, 24].map((shift) => (number >>> shift) & 0xff).join('.');
  return { device: row[0], gateway };
}

export interface Addresses {
  readonly address?: string;
  readonly gateway?: string;
}

/** The addresses a container in a private network will have. */
export function privateAddresses(): Addresses {
  const [helper] = networkHelper();
  if (helper === 'slirp4netns') return { address: '10.0.2.100', gateway: '10.0.2.2' };
  const route = defaultRoute();
  const own = route ? networkInterfaces()[route.device] : undefined;
  const address = own?.find(({ family }) => family === 'IPv4')?.address;
  return {
    ...(address === undefined ? {} : { address }),
    ...(route === undefined ? {} : { gateway: route.gateway }),
  };
}

interface Connected {
  readonly pid: number;
  readonly start: string;
}

function pastaArguments(ports: readonly Published[], pidfile: string, namespace: string): string[] {
  // As the user that we are, and in no user namespace but ours: root's files are not nobody's.
  const args = ['--config-net', '--quiet', '--pid', pidfile, '--runas', '0', '--netns', namespace];
  for (const [flag, protocol] of [
    ['-t', 'tcp'],
    ['-u', 'udp'],
  ] as const) {
    const own = ports.filter((each) => each.protocol === protocol);
    if (own.length === 0) args.push(flag, 'none');
    for (const { hostIp, hostPort, port } of own) {
      const ip = hostIp === '' || hostIp === '0.0.0.0' ? '' : `${hostIp}/`;
      args.push(flag, `${ip}${hostPort}:${port}`);
    }
  }
  // Nothing of the container's loopback is shown on this machine, nor the reverse.
  return [...args, '-T', 'none', '-U', 'none'];
}

/**
 * Shows the network namespace of a process at a place of its own: pasta gives up its capabilities before it
 * looks, and then may not look into the process.
 */
function bindNamespace(pid: number, place: string): void {
  writeFileSync(place, '');
  const from = `/proc/${pid}/ns/net`;
  const result = loadNative().mount(from, toLatin1(place), '', MS_BIND, '');
  if (result < 0) throw new UserError(`cannot reach the container's network: ${errnoText(result)}`);
}

/** It returns when the network is connected, and goes on in the background. */
function startPasta(
  program: string,
  bundle: string,
  ports: readonly Published[],
  pid: number,
): Connected {
  const pidfile = `${bundle}/pasta.pid`;
  const stdio: StdioOptions = ['ignore', 'ignore', 'pipe'];
  const namespace = `${bundle}/netns`;
  bindNamespace(pid, namespace);
  const args = pastaArguments(ports, pidfile, namespace);
  const { status, stderr, error } = spawnSync(program, args, { stdio, encoding: 'utf8' });
  if (error) throw new UserError(`cannot run ${program}: ${error.message}`);
  if (status !== 0) {
    const said = stderr.split('\n').filter((line) => line !== '' && !line.includes('syslog'));
    throw new UserError(`cannot connect the container's network: ${said.join('; ')}`);
  }
  const helper = Number(readFileSync(pidfile, 'latin1').trim());
  return { pid: helper, start: startOf(helper) ?? '' };
}

/** One call of slirp4netns's API. */
async function slirpCall(socket: string, call: object): Promise<void> {
  const connection = createConnection(socket);
  connection.end(JSON.stringify(call));
  let text = '';
  for await (const part of connection as AsyncIterable<Buffer>) text += part.toString('utf8');
  const answer = JSON.parse(text) as { readonly error?: { readonly desc?: string } };
  if (answer.error) {
    throw new UserError(`cannot publish a port: ${answer.error.desc ?? JSON.stringify(call)}`);
  }
}

async function startSlirp(
  program: string,
  bundle: string,
  ports: readonly Published[],
  pid: number,
): Promise<Connected> {
  const socket = `${bundle}/slirp.sock`;
  rmSync(socket, { force: true });
  const args = ['--configure', '--mtu=65520', '--disable-host-loopback', '--ready-fd=3'];
  const child = spawn(program, [...args, `--api-socket=${socket}`, String(pid), 'tap0'], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let said = '';
  (child.stderr as Readable).on('data', (part: Buffer) => (said += part.toString('utf8')));
  const ready = once(child.stdio[3] as Readable, 'data').then(() => true);
  const died = once(child, 'exit').then(() => false);
  if (!(await Promise.race([ready, died]))) {
    throw new UserError(`cannot connect the container's network: ${said.trim()}`);
  }
  child.unref();
  for (const stream of [child.stderr, child.stdio[3]] as Readable[]) stream.destroy();
  const connected = { pid: child.pid ?? 0, start: startOf(child.pid ?? 0) ?? '' };
  try {
    for (const { protocol, hostIp, hostPort, port } of ports) {
      const place = { proto: protocol, host_addr: hostIp || '0.0.0.0', host_port: hostPort };
      const call = { execute: 'add_hostfwd', arguments: { ...place, guest_port: port } };
      await slirpCall(socket, call);
    }
  } catch (error) {
    signalProcess(connected.pid, connected.start, 'SIGKILL');
    throw error;
  }
  return connected;
}

/** Connects the network namespace of the process `pid`. Rejects with one sentence. */
export async function connectNetwork(
  store: Store,
  id: string,
  host: HostConfig,
  pid: number,
): Promise<Connected> {
  const [helper, program] = networkHelper();
  const ports = publishedPorts(host);
  const odd = ports.find(({ protocol }) => protocol !== 'tcp' && protocol !== 'udp');
  if (odd) throw new UserError(`${odd.protocol} ports cannot be published by ${helper}`);
  const bundle = bundleOf(store, id);
  return helper === 'pasta'
    ? startPasta(program, bundle, ports, pid)
    : await startSlirp(program, bundle, ports, pid);
}

/** Ends the program that connects a container. */
export function disconnectNetwork(store: Store, id: string, { helper }: ContainerState): void {
  const known = helper ?? readHelper(store, id);
  if (known) signalProcess(known.pid, known.start, 'SIGTERM');
  // -EINVAL, -ENOENT: this one has none.
  loadNative().umount2(toLatin1(`${bundleOf(store, id)}/netns`), MNT_DETACH);
}

/** A helper that a killed command has started and not noted. */
function readHelper(store: Store, id: string): Connected | undefined {
  try {
    const pid = Number(readFileSync(`${bundleOf(store, id)}/pasta.pid`, 'latin1').trim());
    const comm = readFileSync(`/proc/${pid}/comm`, 'latin1');
    return comm.startsWith('pasta') ? { pid, start: startOf(pid) ?? '' } : undefined;
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
}
