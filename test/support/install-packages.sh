#!/bin/sh
# Installs what the tests drive, quietly and only what is missing. Without apt or root it prints
# what is missing and goes on: the tests then say themselves what they skip.
set -eu

packages='fuse3 fuse-overlayfs acl attr strace jq podman buildah runc conmon passt tini debootstrap rsync sqlite3 git
gcc libc6-dev squashfs-tools erofs-utils btrfs-progs xfsprogs e2fsprogs bindfs fuse2fs busybox-static
clang-format uidmap unionfs-fuse fio skopeo umoci oci-image-tool docker-registry libarchive-tools zstd
containerd docker.io systemd bubblewrap systemd-container'

missing=
for package in $packages; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
  echo "stratafs tests: not installed, as this needs apt and root:$missing" >&2
  exit 0
fi

# No package may start a daemon on the machine that runs the tests.
policy=/usr/sbin/policy-rc.d
saved=
restore() {
  rm -f "$policy"
  [ -z "$saved" ] || mv "$saved" "$policy"
}
if [ -e "$policy" ] || [ -L "$policy" ]; then
  saved=$policy.before-stratafs-tests
  mv "$policy" "$saved"
fi
trap restore EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
echo "stratafs tests: installing$missing" >&2
install() {
  # shellcheck disable=SC2086
  apt-get -qq install -y --no-install-recommends $missing >"$log" 2>&1
}
if ! install && ! { apt-get -qq update >"$log" 2>&1 && install; }; then
  cat "$log" >&2
  echo "stratafs tests: apt could not install:$missing" >&2
fi
rm -f "$log"
