/**
 * The units of the host. packaging/units holds them as the Debian package has them; a test compares.
 *
 * DefaultDependencies=no, so that mounts of fstab find the socket: they come before sysinit.target. What
 * uses mounts is named with Before=, as it must have stopped when the host does.
 */

export interface Unit {
  readonly name: string;
  readonly content: string;
}

/** Programs that keep mounts of ours: at shutdown they stop first. */
const USERS =
  'podman.service podman-restart.service docker.service containerd.service crio.service k3s.service k3s-agent.service buildkit.service kubelet.service';

const systemSocket = `[Unit]
Description=stratafs union mounts: the host's socket
Documentation=man:stratafs(8)
DefaultDependencies=no
Before=local-fs-pre.target sockets.target shutdown.target
Conflicts=shutdown.target

[Socket]
ListenStream=/run/stratafs/unit.sock
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`;

const systemService = (program: string): string => `[Unit]
Description=stratafs union mounts: the host
Documentation=man:stratafs(8)
DefaultDependencies=no
After=stratafs.socket
Before=local-fs-pre.target shutdown.target
Before=${USERS}
Conflicts=shutdown.target

[Service]
Type=exec
ExecStart=${program} host serve
# Its callers wait for it as for the kernel (docs/performance.md).
CPUWeight=930
# Its end is the end of all mounts.
OOMScoreAdjust=-900
LimitNOFILE=1048576
LimitMEMLOCK=infinity
TasksMax=infinity
# The host unmounts what it serves when it is told to end; what it writes may take long.
KillMode=mixed
TimeoutStopSec=5min
RuntimeDirectory=stratafs
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
`;

const userSocket = `[Unit]
Description=stratafs union mounts: the host's socket
Documentation=man:stratafs(8)

[Socket]
ListenStream=%t/stratafs/unit.sock
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`;

const userService = (program: string): string => `[Unit]
Description=stratafs union mounts: the host
Documentation=man:stratafs(8)
After=stratafs.socket

[Service]
Type=exec
ExecStart=${program} host serve
TasksMax=infinity
# The host unmounts what it serves when it is told to end; what it writes may take long.
KillMode=mixed
TimeoutStopSec=5min
RuntimeDirectory=stratafs
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
`;

/** `program`: the launcher's absolute path. */
export const systemUnits = (program: string): readonly Unit[] => [
  { name: 'stratafs.socket', content: systemSocket },
  { name: 'stratafs.service', content: systemService(quoted(program)) },
];

export const userUnits = (program: string): readonly Unit[] => [
  { name: 'stratafs.socket', content: userSocket },
  { name: 'stratafs.service', content: userService(quoted(program)) },
];

/** As ExecStart= reads it (systemd.service(5), "COMMAND LINES"). */
function quoted(path: string): string {
  const escaped = path.replace(/[%$]/g, '$&$&');
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`;
}
