#!/bin/sh
# Installs stratafs on the node of this pod: a tree in the node's /opt, units of the node's systemd, the lines
# that its containerd needs. The pod serves nothing, so its end takes no mount along; started again, it
# brings the node to its own version.
#   TARGET   containerd (default) or k3s
#   UNITS    what reads the configuration: the first that the node has (default: that of TARGET)
#   FROM     the tree to install (default /usr/lib/stratafs, of the Debian package)
#   NODE_OPT the node's /opt as it is seen here (default /node/opt)
#   ON_NODE  what runs a command on the node (default: in the namespaces of its process 1)
#   ONCE     set: end after the installation
set -eu

target=${TARGET:-containerd}
from=${FROM:-/usr/lib/stratafs}
opt=${NODE_OPT:-/node/opt}
on_node=${ON_NODE-nsenter --target 1 --mount --uts --ipc --net --pid --}
case $target in
  containerd)
    flags='--cri'
    units=${UNITS:-containerd.service}
    files='/etc/containerd/config.toml /etc/containerd/conf.d/stratafs.toml'
    ;;
  k3s)
    flags=
    units=${UNITS:-k3s.service k3s-agent.service}
    files='/etc/rancher/k3s/config.yaml.d/stratafs.yaml
      /var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl
      /var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl'
    ;;
  *)
    echo "install-node: TARGET is containerd or k3s, not '$target'" >&2
    exit 2
    ;;
esac

# The words are a command and its first arguments.
# shellcheck disable=SC2086
node() { $on_node "$@"; }
# shellcheck disable=SC2086
configuration() { node cat $files 2>/dev/null | sha256sum; }

# A build has a directory of its own: a host that serves mounts keeps the one it was started from.
build=$(cat "$from/dist/build-id")
tree=$opt/stratafs/$build
if [ ! -d "$tree" ]; then
  rm -rf "$tree.new"
  mkdir -p "$opt/stratafs"
  cp -a "$from" "$tree.new"
  sync -f "$tree.new"
  mv -T "$tree.new" "$tree"
fi
ln -sfn "$build" "$opt/stratafs/current.new"
mv -T "$opt/stratafs/current.new" "$opt/stratafs/current"

node modprobe fuse 2>/dev/null || true # It may be built in.
before=$(configuration)
# shellcheck disable=SC2086
node "/opt/stratafs/$build/build/Release/stratafs" install "$target" $flags
# One of another version gives way; requests wait in the socket meanwhile, and mounts stay.
node systemctl try-restart stratafs-snapshotter.service

if [ "$(configuration)" != "$before" ]; then
  for unit in $units; do
    node systemctl is-active --quiet "$unit" || continue
    echo "install-node: restarting $unit, which reads the new configuration"
    node systemctl restart "$unit"
    break
  done
fi
echo "install-node: the node has stratafs $build"

[ -z "${ONCE:-}" ] || exit 0
touch /tmp/ready
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
