#!/bin/bash
# What podman takes with kernel overlayfs, fuse-overlayfs and stratafs: medians of ROUNDS (5) interleaved rounds,
# in ms. Needs root, podman, fuse-overlayfs, busybox, tar.   bench/podman.sh [DIR with the image's root file system]
# Without DIR the image has 12,000 small files.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
rounds=${ROUNDS:-5}
work=$(mktemp -d /var/tmp/stratafs-podman-XXXXXX)
drivers=${DRIVERS:-kernel fuse-overlayfs stratafs}
nofile=$(ulimit -Hn)
nproc=$(ulimit -Hu)
most=$(cat /proc/sys/kernel/pid_max)
if [ "$nproc" = unlimited ] || [ "$nproc" -gt "$most" ]; then nproc=$most; fi
limits=(--ulimit "nofile=$nofile:$nofile" --ulimit "nproc=$nproc:$nproc")
cat > "$work/containers.conf" <<C
[containers]
cgroups = "enabled"
netns = "host"
log_driver = "k8s-file"
default_ulimits = [ "nofile=$nofile:$nofile", "nproc=$nproc:$nproc" ]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
C
export CONTAINERS_CONF=$work/containers.conf PODMAN_IGNORE_CGROUPSV1_WARNING=1

pod() {
  local driver=$1 program=()
  shift
  case $driver in
  kernel) ;;
  stratafs) program=(--storage-opt "overlay.mount_program=${STRATAFS_BIN:-$here/build/Release/stratafs}") ;;
  *) program=(--storage-opt "overlay.mount_program=$(command -v "$driver")") ;;
  esac
  podman --runtime runc --root "$work/$driver" --runroot "$work/$driver-run" --tmpdir "$work/$driver-tmp" \
    --storage-driver overlay "${program[@]}" "$@"
}
finish() {
  for driver in $drivers; do
    pod "$driver" rm -fa -t 0 >/dev/null 2>&1 || true
    umount "$work/$driver/overlay" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT

root=${1:-}
if [ -z "$root" ]; then
  root=$work/root
  mkdir -p "$root"/{bin,etc,tmp,proc,sys,dev,opt}
  cp "$(command -v busybox)" "$root/bin/busybox"
  for name in sh true rm mkdir cp touch; do ln -s busybox "$root/bin/$name"; done
  for d in $(seq 100); do
    mkdir "$root/opt/d$d"
    for f in $(seq 120); do echo "$d $f" > "$root/opt/d$d/f$f"; done
  done
fi
tar -C "$root" --numeric-owner -cf "$work/image.tar" .
change='rm /opt/d1/f1; echo x > /etc/new; mkdir /opt/new; cp /bin/busybox /opt/new/'
[ $# -eq 0 ] || change='touch /etc/new; mkdir /new'
mkdir "$work/context"
printf 'FROM localhost/bench:1\nRUN echo one > /one\nRUN mkdir /two && echo two > /two/f\nRUN rm -r /two\n' \
  > "$work/context/Containerfile"
for driver in $drivers; do
  pod "$driver" import -q "$work/image.tar" localhost/bench:1 >/dev/null
  pod "$driver" run --name changed localhost/bench:1 sh -c "$change"
done
first=${drivers%% *}
pod "$first" save -q -o "$work/saved.tar" localhost/bench:1

run() { pod "$1" run --rm localhost/bench:1 true; }
build() { pod "$1" build -q --no-cache --layers "${limits[@]}" "$work/context"; }
commit() { pod "$1" commit -q changed localhost/committed:1; }
diff() { pod "$1" diff changed; }
load() { pod "$1" load -q -i "$work/saved.tar"; }

printf '%-8s' ''
printf '%16s' $drivers
printf '   load %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
for what in ${WHAT:-run build commit diff load}; do
  for _ in $(seq "$rounds"); do
    for driver in $drivers; do
      # What is loaded must not be there.
      [ "$what" != load ] || pod "$driver" rmi -fa >/dev/null
      begun=$(date +%s%N)
      "$what" "$driver" >/dev/null
      echo "$driver $((($(date +%s%N) - begun) / 1000000))" >> "$work/times-$what"
    done
  done
  printf '%-8s' "$what"
  for driver in $drivers; do
    sed -n "s/^$driver //p" "$work/times-$what" | sort -n | awk '{v[NR]=$1} END {printf "%16s", v[int((NR + 1) / 2)]}'
  done
  echo
done
