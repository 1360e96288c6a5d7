#!/bin/bash
# One suite of others on one driver; README.md here says where the suites come from.
#
#     sh run.sh unionmount DRIVER DIR MODE...    DIR: a clone of unionmount-testsuite
#     sh run.sh pjdfstest DRIVER DIR             DIR: a clone of pjdfstest, built
#     sh run.sh stress DRIVER DIR                DIR: has xfstests' ltp/fsstress and ltp/fsx
#     sh run.sh xfstests DRIVER DIR ARG...       DIR: xfstests, built; ARG: as for its check, `-g overlay/quick`
#     sh run.sh ltp DRIVER DIR                   DIR: LTP, installed
#
# DRIVER: stratafs, kernel or fuse-overlayfs. As root. Everything is mounted in a mount namespace of
# its own and nothing stays. UNIONMOUNT_MNTOPTIONS: further options; without them stratafs runs
# --verify twice, also with data=passthrough, where a file is copied up by the open.
set -eu
suite=$1 driver=$2 dir=$(realpath "$3")
shift 3
here=$(realpath "$(dirname "$0")")
if [ -z "${FOREIGN_NS:-}" ]; then
  # Tests end helpers by a signal that whoever starts this may have ignored.
  FOREIGN_NS=1 exec env --default-signal unshare -m --propagation private "$0" "$suite" "$driver" "$dir" "$@"
fi

export FOREIGN_TOP=$$
# mount -t fuse.stratafs finds the program there, and no host of others.
mount -t tmpfs -o mode=755 programs /usr/local/bin
ln -s "$here/../../build/Release/stratafs" /usr/local/bin/stratafs
# The server may hold the layers for a moment after umount(8) has returned, which the suites that
# unmount the layers next do not expect: a busy one is tried again.
cat > /usr/local/bin/umount << 'EOF'
#!/bin/sh
tries=0
until said=$(/bin/umount "$@" 2>&1); do
  tries=$((tries + 1))
  case $said in *busy*) ;; *) tries=100 ;; esac
  # Of what a test has left behind, where no systemd ends it: its parent has gone, and it is no server.
  [ $tries != 3 ] || for left in /proc/[0-9]*; do
    [ "$(readlink "$left/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || continue
    grep -q '^PPid:.1$' "$left/status" || continue
    case ${left#/proc/}:$(readlink "$left/exe") in "$FOREIGN_TOP":* | *node | *fuse*) ;; *) kill "${left#/proc/}" ;; esac
  done
  [ $tries -lt 100 ] || { echo "$said" >&2; exit 32; }
  sleep 0.05
done
EOF
chmod 755 /usr/local/bin/umount
mkdir -p /run/stratafs
mount -t tmpfs -o mode=700 hosts /run/stratafs
top=$(mktemp -d /tmp/foreign.XXXXXX)
loops=''
finish() {
  unset TMPDIR
  cd /
  awk '{ print $5 }' /proc/self/mountinfo | grep -E "^($top|/base|/lower|/upper|/mnt)(/|$)" | tac |
    xargs -r -n 1 umount -l
  [ -z "$loops" ] || losetup -d $loops
  rm -rf "$top"
  [ "$suite" != unionmount ] || rmdir --ignore-fail-on-non-empty /base /lower /upper
}
trap finish EXIT

for part in xfstests ltp; do
  # shellcheck source=/dev/null
  . "$here/$part.sh"
done

union() { # OPTIONS: mounts $top/{l1,l2,u,w} on $top/m
  local layers=lowerdir=$top/l1:$top/l2,upperdir=$top/u,workdir=$top/w$1
  case $driver in
    kernel) mount -t overlay overlay -o "$layers" "$top/m" ;;
    *) "$driver" -o "$layers" "$top/m" ;;
  esac
}
# Each test in a run of its own, so that one that fails does not end the others.
unionmount() {
  local passed=0 failed='' tests mode=$1
  shift
  # Where the suite works by default.
  mkdir -p /base /lower /upper /mnt
  cd "$dir"
  tests=$(sed -n '/^tests = \[/,/\]/s/.*"\(.*\)".*/\1/p' run)
  case " $* " in
    *' --xdev '*) tests="$tests rename-exdev" ;;
    *) tests="$tests rename-dir rename-empty-dir rename-pop-dir rename-move-dir" ;;
  esac
  [ "$driver" = kernel ] || set -- "--fuse=$driver" "$@"
  for test in $tests; do
    if timeout 120 ./run "$mode" "$@" "$test" > "$top/log" 2>&1; then
      passed=$((passed + 1))
    else
      failed="$failed $test"
      tail -n 3 "$top/log" >&2
    fi
  done
  local options=${UNIONMOUNT_MNTOPTIONS:+ ($UNIONMOUNT_MNTOPTIONS)}
  echo "unionmount $driver $mode $*$options: $passed passed, failed:${failed:- none}"
}

pjdfstest() {
  mkdir -p "$top"/l1 "$top"/l2 "$top"/u "$top"/w "$top"/m
  chmod 755 "$top"
  union ''
  mkdir -m 755 "$top/m/t"
  cd "$top/m/t"
  timeout 3000 prove -r "$dir/tests" 2>&1 | grep -E 'Failed|^Files|^Result|^All' || true
  cd /
  umount "$top/m"
}

# Names, modes, owners, sizes, times, contents and xattrs of a tree, one sum.
picture() {
  (
    cd "$1"
    find . -printf '%P|%y|%m|%U:%G|%s|%l\n' | sort
    find . -type f -printf '%P %T@\n' | sort
    find . -type f -print0 | sort -z | xargs -0 -r md5sum
    getfattr -R -d -h -m - . 2> /dev/null
  ) | md5sum
}

stress() {
  local before seen
  mkdir -p "$top"/l1 "$top"/l2 "$top"/u "$top"/w "$top"/m
  "$dir/ltp/fsstress" -d "$top/l1" -p 2 -n 1000 -s 1 -f mknod=0 > /dev/null 2>&1
  "$dir/ltp/fsstress" -d "$top/l2" -p 4 -n 1000 -s 2 > /dev/null 2>&1
  before=$(picture "$top/l1")$(picture "$top/l2")
  local features=,metacopy=on,redirect_dir=on
  [ "$driver" = fuse-overlayfs ] && features=
  union "$features"
  timeout 120 "$dir/ltp/fsstress" -d "$top/m" -p 4 --duration=30 -s 7 > "$top/log" 2>&1 &&
    echo "fsstress $driver: done" || echo "fsstress $driver: failed: $(tail -n 1 "$top/log")"
  for how in '' '-R -W'; do
    timeout 300 "$dir/ltp/fsx" $how -N 20000 -S 7 "$top/m/fsx$how" > "$top/log" 2>&1 &&
      echo "fsx $how $driver: done" || echo "fsx $how $driver: failed: $(tail -n 1 "$top/log")"
  done
  sync -f "$top/m"
  seen=$(picture "$top/m")
  umount "$top/m"
  union "$features"
  [ "$(picture "$top/m")" = "$seen" ] && echo 'mounted again: the same' || echo 'mounted again: DIFFERS'
  umount "$top/m"
  [ "$(picture "$top/l1")$(picture "$top/l2")" = "$before" ] && echo 'lowers: the same' || echo 'lowers: CHANGED'
}

"$suite" "$@"
case "$suite $driver ${UNIONMOUNT_MNTOPTIONS:-} $*" in
  'unionmount stratafs  '*--verify*)
    export UNIONMOUNT_MNTOPTIONS=data=passthrough
    unionmount "$@"
    ;;
esac
