/** /etc/hosts, /etc/resolv.conf and /etc/hostname of a container, as engines write them. */
import { readFileSync } from 'node:fs';
import { errnoOf } from '../../sys/paths.js';
import type { Network } from './spec.js';

const LOCAL = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

export interface EtcInput {
  readonly network: Network;
  readonly hostname: string;
  /** The container's address in a network of its own. */
  readonly address?: string;
  /** `NAME:ADDRESS` each. */
  readonly addHosts: readonly string[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** The address at which this machine is reached. */
  readonly gateway?: string;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    errnoOf(error);
    return '';
  }
}

export function hostsFile(input: EtcInput): string {
  const { network, hostname, address, addHosts, gateway } = input;
  const lines = network === 'host' ? textOf('/etc/hosts').split('\n').filter(Boolean) : [...LOCAL];
  for (const each of addHosts) {
    const at = each.indexOf(':');
    const to = each.slice(at + 1);
    lines.push(`${to === 'host-gateway' ? (gateway ?? '127.0.0.1') : to}\t${each.slice(0, at)}`);
  }
  if (network !== 'host') lines.push(`${address ?? '127.0.1.1'}\t${hostname}`);
  return `${lines.join('\n')}\n`;
}

/** Addresses of this machine itself are of no use in a network of its own. */
const isLocal = (line: string): boolean => /^nameserver\s+(127\.|::1\s*$)/.test(line);

/** Where the resolver that listens on this machine has what it asks itself (systemd-resolved(8)). */
const REAL = '/run/systemd/resolve/resolv.conf';

export function resolvFile(input: EtcInput): string {
  const { network, dns, dnsSearch, dnsOptions } = input;
  const own = textOf('/etc/resolv.conf').split('\n');
  const useful = (lines: readonly string[]): string[] =>
    lines.filter((line) => network === 'host' || !isLocal(line));
  const source = own.some(isLocal) && network !== 'host' ? textOf(REAL).split('\n') : own;
  const lines = useful(source.length > 1 ? source : own).filter((line) => line.trim() !== '');
  const kept = lines.filter(
    (line) =>
      !(dns.length > 0 && line.startsWith('nameserver')) &&
      !(dnsSearch.length > 0 && /^(search|domain)\b/.test(line)) &&
      !(dnsOptions.length > 0 && line.startsWith('options')),
  );
  for (const each of dns) kept.push(`nameserver ${each}`);
  if (dnsSearch.length > 0 && !dnsSearch.includes('.')) kept.push(`search ${dnsSearch.join(' ')}`);
  if (dnsOptions.length > 0) kept.push(`options ${dnsOptions.join(' ')}`);
  return kept.length === 0 ? '' : `${kept.join('\n')}\n`;
}
