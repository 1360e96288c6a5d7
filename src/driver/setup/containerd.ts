/** What an engine's configuration needs to use us; docs/engines.md shows the same. */

interface ContainerdSetup {
  /** 2 for containerd 1.x, 3 for 2.x. */
  readonly version: 2 | 3;
  /** Of the snapshotter. */
  readonly socket: string;
  readonly root: string;
  /** The diff plug-in too; containerd takes it from 2.0 on. */
  readonly diff: boolean;
  /** Kubernetes' containers use it (CRI). */
  readonly cri?: boolean;
}

const NAME = 'stratafs';
const DIFF_NAME = 'stratafs-diff';

/** The proxy plug-ins; their keys are the same in both versions. */
const proxies = ({ socket, root, diff }: ContainerdSetup): string => `
[proxy_plugins.${NAME}]
  type = "snapshot"
  address = "${socket}"
  # It shows other owners by itself: no copy of the image for a user namespace.
  capabilities = ["remap-ids"]
  [proxy_plugins.${NAME}.exports]
    # Where the disk space goes, for the kubelet.
    root = "${root}"
    enable_remote_snapshot_annotations = "true"
${
  diff
    ? `
[proxy_plugins.${DIFF_NAME}]
  type = "diff"
  address = "${socket}"
`
    : ''
}`;

/** Who computes diffs: ours first, and \`walking\` for all that is not ours. */
const DIFF_SERVICE = `
[plugins."io.containerd.service.v1.diff-service"]
  default = ["${DIFF_NAME}", "walking"]

[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "${NAME}"
  differ = "${DIFF_NAME}"

# A list replaces containerd's own, so this one is said again.
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "overlayfs"
  differ = "walking"
`;

const CRI: Readonly<Record<2 | 3, string>> = {
  2: `
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "${NAME}"
  disable_snapshot_annotations = false
`,
  3: `
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "${NAME}"
  disable_snapshot_annotations = false
`,
};

/** A part of containerd's config.toml. */
export function containerdConfig(setup: ContainerdSetup): string {
  return `version = ${setup.version}
${containerdTables(setup)}`;
}

/** The same without its version: for a file that is put into another. */
export function containerdTables(setup: ContainerdSetup): string {
  const { version, diff, cri } = setup;
  return `${proxies(setup)}${diff ? DIFF_SERVICE : ''}${cri === true ? CRI[version] : ''}`;
}
