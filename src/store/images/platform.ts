/** Platforms: `linux/arm64/v8`, in Go's words. */
import { UserError } from '../../base/errno.js';
import type { Descriptor } from '../content/documents.js';

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  arm64: 'arm64',
  arm: 'arm',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loong64',
};

/** The same architecture under other names (github.com/containerd/platforms, database.go). */
const ALIASES: Readonly<Record<string, string | undefined>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  i386: '386',
};

export const ownPlatform = (): Platform => ({
  os: 'linux',
  architecture: ARCHITECTURES[process.arch] ?? process.arch,
});

/** `OS[/ARCH[/VARIANT]]` or `ARCH`. Throws UserError. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/');
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/.test(part))) {
    throw new UserError(`'${text}' is no platform: write OS/ARCH, such as linux/arm64`);
  }
  const whole = parts.length === 1 && parts[0] !== 'linux' ? ['linux', ...parts] : parts;
  const architecture = whole.at(1) ?? ownPlatform().architecture;
  const variant = whole.at(2);
  return {
    os: whole[0],
    architecture: ALIASES[architecture] ?? architecture,
    ...(variant === undefined ? {} : { variant }),
  };
}

export const platformText = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])].join('/');

/** Attestations of BuildKit are listed like images, of the platform `unknown`. */
const isImage = ({ platform }: Descriptor): boolean => platform?.os !== 'unknown';

/** The manifest of an index for a platform; one without a platform is for all. Throws UserError. */
export function choose(manifests: readonly Descriptor[], wanted: Platform): Descriptor {
  const images = manifests.filter(isImage);
  const fits = images.filter(
    ({ platform }) =>
      platform?.os === wanted.os &&
      platform.architecture === wanted.architecture &&
      (wanted.variant === undefined || platform.variant === wanted.variant),
  );
  const found = fits.at(0) ?? images.find(({ platform }) => platform === undefined);
  if (found) return found;
  const there = images.map(({ platform }) => platformText(platform!)).slice(0, 20);
  throw new UserError(
    `there is no image for ${platformText(wanted)}${there.length === 0 ? '' : `, only for ${there.join(', ')}`}`,
  );
}
