#!/bin/sh
# The command of the npm package. npm, pnpm and yarn link the commands of the package that was asked
# for, and the launcher is in another, the one for this architecture. This script finds it where Node
# would find that package. A script for Node would take 40 ms for that, this one takes 1.5.
self=$(readlink -f "$0")
root=${self%/*/*}

# The launcher sees its own name alone.
case $0 in fuse-overlayfs | */fuse-overlayfs) export STRATAFS_AS=fuse-overlayfs ;; esac

launcher=$root/build/Release/stratafs
[ -x "$launcher" ] && exec "$launcher" "$@"

name() {
  case $(uname -m) in
    x86_64) echo linux-x64-gnu ;;
    aarch64) echo linux-arm64-gnu ;;
  esac
}

# Sets `launcher` to the one of "$@" that runs here.
choose() {
  launcher=$1
  # An install for several architectures.
  [ $# -eq 1 ] || launcher=$at/node_modules/@stratafs/$(name)/build/Release/stratafs
  [ -x "$launcher" ]
}

at=$root
while :; do
  choose "$at"/node_modules/@stratafs/linux-*/build/Release/stratafs && exec "$launcher" "$@"
  [ -n "$at" ] || break
  at=${at%/*}
done

name=$(name)
if [ -e "$root/native/build.js" ]; then
  echo "stratafs: the native parts are not built: run npm run build in $root" >&2
elif [ -n "$name" ]; then
  case $root in */lib/node_modules/*) global='--global ' ;; *) global= ;; esac
  echo "stratafs: the package @stratafs/$name is missing: run npm install $global@stratafs/$name@VERSION" >&2
else
  echo "stratafs: there is no package for $(uname -m): build stratafs from source, see docs/install.md" >&2
fi
exit 1
