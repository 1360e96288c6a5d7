#!/bin/bash
# mount(8) for a suite that knows kernel overlayfs alone: `-t overlay` goes to stratafs, all else to mount(8).
# run.sh puts it before mount(8) on PATH. As there, a refused mount is 32. FOREIGN_MNTOPTIONS: further options.
type='' source='' options='' words=()
original=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    -t | --types) type=$2 && shift ;;
    -t*) type=${1#-t} ;;
    -o | --options) options="$options,$2" && shift ;;
    -o*) options="$options,${1#-o}" ;;
    -r | --read-only) options="$options,ro" ;;
    -w | --rw) options="$options,rw" ;;
    -*) type=other ;;
    *) words+=("$1") ;;
  esac
  shift
done
[ "$type" = overlay ] && [ ${#words[@]} = 2 ] || exec /bin/mount "${original[@]}"
source=${words[0]} target=${words[1]}
case $options in *remount*) exec /bin/mount "${original[@]}" ;; esac
said=$(stratafs -o "fsname=$source$options${FOREIGN_MNTOPTIONS:+,$FOREIGN_MNTOPTIONS}" "$target" 2>&1) && exit 0
# The suites compare mount(8)'s words for the errno of overlayfs.
case $said in
  *'is in use by'* | *'is in use'*) why="$source already mounted or mount point busy" ;;
  *'was used above another'* | *'belongs to another'*) why='mount(2) system call failed: Stale file handle' ;;
  *'is also a'* | *'lies inside'* | *'given twice'*) why='mount(2) system call failed: Too many levels of symbolic links' ;;
  *) why=${said:-failed} ;;
esac
echo "mount: $target: $why." >&2
exit 32
