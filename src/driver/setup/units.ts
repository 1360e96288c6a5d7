/** systemd units of the services; docs/engines.md shows the same. */

export interface UnitSetup {
  /** Absolute path of the `stratafs` command. */
  readonly program: string;
  /** Where the service listens. */
  readonly socket: string;
  /** Words after the command. */
  readonly arguments: readonly string[];
  readonly description: string;
  /** The engine's unit, which starts after ours and ends before it. */
  readonly before: string;
}

/** The socket exists before the engine starts, and stays while the service is restarted. */
export const socketUnit = ({ socket, description, before }: UnitSetup): string => `[Unit]
Description=${description}
Before=${before}

[Socket]
ListenStream=${socket}
SocketMode=0600

[Install]
WantedBy=sockets.target
`;

/** KillMode: what serves the mounts may be in the service's cgroup, and must outlive a restart. */
export const serviceUnit = (setup: UnitSetup): string => `[Unit]
Description=${setup.description}
Before=${setup.before}

[Service]
Type=notify
NotifyAccess=main
ExecStart=${[setup.program, ...setup.arguments].join(' ')}
KillMode=process
Restart=always
RestartSec=1
OOMScoreAdjust=-999
LimitNOFILE=infinity

[Install]
WantedBy=multi-user.target
`;

export const SNAPSHOTTER_UNIT = {
  socket: '/run/stratafs/snapshotter.sock',
  arguments: ['snapshotter'],
  description: 'stratafs snapshots for containerd',
  before: 'containerd.service',
} as const;

export const VOLUME_PLUGIN_UNIT = {
  socket: '/run/docker/plugins/stratafs.sock',
  arguments: ['volume-plugin'],
  description: 'stratafs volumes for Docker',
  before: 'docker.service',
} as const;
