/** What kernel, device, limits and helpers this machine has. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import { errnoName } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import { euid } from '../../wire/sockets.js';
import { check, type Check, ok, textOf } from './check.js';

/** mount(8) and its helpers look for programs there, whatever the caller's PATH is. */
const MOUNT_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

const find = (name: string, places: readonly string[]): string | undefined =>
  places.map((place) => join(place, name)).find((path) => existsSync(path));

const onPath = (name: string): string | undefined =>
  find(name, [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']);

const root = (): boolean => euid() === 0;

export function kernel(): Check {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const shown = `Linux ${release()}`;
  if (major > 5 || (major === 5 && minor >= 4)) return ok('kernel', shown);
  return check('kernel', 'fail', shown, 'its FUSE protocol is too old', 'use Linux 5.4 or later');
}

function inContainer(): boolean {
  if (existsSync('/.dockerenv') || existsSync('/run/.containerenv')) return true;
  return process.env['container'] !== undefined;
}

export function device(): Check {
  const cure = inContainer()
    ? 'start the container with --device /dev/fuse (and --cap-add SYS_ADMIN, or a user namespace)'
    : 'modprobe fuse; the device should have mode 0666';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return ok('dev-fuse', `/dev/fuse may be opened${inContainer() ? ', in a container' : ''}`);
  } catch (error) {
    const why = errnoName(errnoOf(error));
    return check('dev-fuse', 'fail', `/dev/fuse: ${why}`, 'nothing can be mounted', cure);
  }
}

export function fusermount(): Check {
  const path = onPath('fusermount3') ?? onPath('fusermount');
  if (path === undefined) {
    const state = root() ? 'note' : 'fail';
    const means = 'an ordinary user can neither mount nor unmount outside a user namespace';
    return check('fusermount', state, 'no fusermount3', means, 'apt-get install fuse3');
  }
  const setuid = (statSync(path).mode & 0o4000) !== 0;
  if (setuid || root()) return ok('fusermount', path);
  const means = 'it cannot mount for an ordinary user';
  return check('fusermount', 'warn', `${path} has no set-user-ID bit`, means, `chmod u+s ${path}`);
}

export function allowOther(): Check {
  const set = /^\s*user_allow_other\b/m.test(textOf('/etc/fuse.conf') ?? '');
  if (set) return ok('allow-other', 'user_allow_other is set in /etc/fuse.conf');
  return check(
    'allow-other',
    'note',
    'user_allow_other is not set in /etc/fuse.conf',
    'mounts of an ordinary user can be entered by that user alone (option allow_other is refused)',
    'echo user_allow_other >>/etc/fuse.conf',
  );
}

/** Where stratafs must lie so that `mount -t fuse.stratafs` and fstab find it. */
export function mountHelper(): Check {
  const own = find('mount.fuse.stratafs', ['/usr/sbin', '/sbin']);
  if (own !== undefined) return ok('mount-8', own);
  const program = find('stratafs', MOUNT_PATH);
  const helper = find('mount.fuse3', MOUNT_PATH) ?? find('mount.fuse', MOUNT_PATH);
  if (program !== undefined && helper !== undefined) return ok('mount-8', `${helper}, ${program}`);
  return check(
    'mount-8',
    'note',
    program === undefined ? `no stratafs in ${MOUNT_PATH.join(':')}` : 'no mount.fuse3',
    'mount -t fuse.stratafs and /etc/fstab do not find it; stratafs itself mounts',
    program === undefined
      ? 'ln -s "$(command -v stratafs)" /usr/local/bin/'
      : 'apt-get install fuse3',
  );
}

const ENOUGH_FILES = 4096;

export function descriptors(): Check {
  const limits = textOf('/proc/self/limits') ?? '';
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? 'unknown';
  const found = `at most ${hard} open files (hard limit)`;
  if (hard === 'unlimited' || Number(hard) >= ENOUGH_FILES) return ok('open-files', found);
  const means =
    'a host closes files that it would keep open, and passthrough needs one for each open file';
  return check('open-files', 'note', found, means, 'raise LimitNOFILE= or ulimit -Hn to 65536');
}

/** Requests that take longer than these end the mount (Linux 6.14). */
export function timeouts(): Check {
  const read = (name: string): number => Number(textOf(`/proc/sys/fs/fuse/${name}`) ?? '0');
  const [usual, most] = [read('default_request_timeout'), read('max_request_timeout')];
  const found = `request time-outs: default ${usual} s, most ${most} s (0: none)`;
  if (usual === 0 && most === 0) return ok('time-outs', found);
  const means =
    'the kernel ends a mount of which one request takes longer, as after a disk that stalls';
  return check(
    'time-outs',
    'warn',
    found,
    means,
    'sysctl fs.fuse.default_request_timeout=0 fs.fuse.max_request_timeout=0',
  );
}

export function userNamespaces(): Check {
  const most = Number(textOf('/proc/sys/user/max_user_namespaces') ?? '0');
  const refused =
    textOf('/proc/sys/kernel/unprivileged_userns_clone') === '0' ||
    textOf('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1';
  const means = 'rootless containers and the store of an ordinary user need user namespaces';
  if (most === 0 || refused) {
    const found =
      most === 0 ? 'user namespaces are switched off' : 'only root may make user namespaces';
    return check(
      'user-namespaces',
      'warn',
      found,
      means,
      'sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1',
    );
  }
  if (onPath('newuidmap') === undefined) {
    return check(
      'user-namespaces',
      'note',
      'no newuidmap',
      'a rootless store shows one user only',
      'apt-get install uidmap',
    );
  }
  return ok('user-namespaces', `at most ${most} user namespaces, newuidmap is there`);
}

const PROGRAMS: Readonly<Record<string, string>> = {
  'runc or crun': 'containers cannot run',
  conmon: 'containers cannot run in the background',
  skopeo: 'images cannot be pulled and pushed',
  'pasta or slirp4netns': 'containers have no private network (-p)',
};

/** What the store's commands run. */
export function programs(): Check[] {
  return Object.entries(PROGRAMS).map(([names, means]) => {
    const found = names
      .split(' or ')
      .map(onPath)
      .find((path) => path !== undefined);
    const id = `program-${names.split(' ')[0]}`;
    if (found !== undefined) return ok(id, found);
    const wanted = names.split(' ')[0].replace('pasta', 'passt');
    return check(id, 'note', `no ${names}`, means, `apt-get install ${wanted}`);
  });
}

export function security(): Check {
  const enforce = textOf('/sys/fs/selinux/enforce');
  if (enforce === undefined) return ok('selinux', 'no SELinux');
  const found = enforce === '1' ? 'SELinux is enforcing' : 'SELinux is permissive';
  return check('selinux', 'note', found, 'containers need a label on their mount: option context=');
}
