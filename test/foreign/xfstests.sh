# xfstests for run.sh: `check -overlay` on two images of 10 GiB (sparse), with ext4 (or FOREIGN_BASE=xfs).
# shellcheck shell=bash

# What the suite asks of overlayfs by name: df, findmnt and the module's parameters say of stratafs what
# they say of overlayfs. Its defaults are on, and nfs_export is refused.
disguise() {
  install -m 755 "$here/mount.sh" /usr/local/bin/mount
  cat > /usr/local/bin/df << 'EOF'
#!/bin/sh
/bin/df "$@" | sed 's/fuse\.stratafs/overlay/'
exit 0
EOF
  cat > /usr/local/bin/findmnt << 'EOF'
#!/bin/bash
exec /bin/findmnt "${@/#overlay/fuse.stratafs}"
EOF
  chmod 755 /usr/local/bin/df /usr/local/bin/findmnt
  mount -t tmpfs parameters /sys/module/overlay/parameters
  for name in index metacopy redirect_dir redirect_always_follow xino_auto; do
    echo Y > "/sys/module/overlay/parameters/$name"
  done
  echo N > /sys/module/overlay/parameters/nfs_export
}

# The users that the suite wants, without a change of the machine's.
users() {
  local file
  for file in passwd group shadow; do cp -p "/etc/$file" "$top/$file"; done
  local id=7001 name
  for name in fsgqa fsgqa2 123456-fsgqa; do
    grep -q "^$name:" "$top/passwd" || {
      echo "$name:x:$id:$id::/:/bin/bash" >> "$top/passwd"
      echo "$name:x:$id:" >> "$top/group"
      echo "$name:*:19000:0:99999:7:::" >> "$top/shadow"
    }
    id=$((id + 1))
  done
  for file in passwd group shadow; do mount --bind "$top/$file" "/etc/$file"; done
}

device() { # NAME: an image with a file system, as a loop device
  truncate -s 10G "$top/$1.img"
  "mkfs.${FOREIGN_BASE:-ext4}" -q "$top/$1.img"
  losetup --find --show "$top/$1.img"
}

xfstests() { # TEST...|-g GROUP: arguments of check; results stay in $FOREIGN_RESULTS
  # Its users have to get there.
  chmod 755 "$top"
  users
  [ "$driver" != stratafs ] || disguise
  export TEST_DEV SCRATCH_DEV RESULT_BASE=${FOREIGN_RESULTS:-$top/results}
  export TEST_DIR=$top/test SCRATCH_MNT=$top/scratch FSTYP=${FOREIGN_BASE:-ext4} HOST_OPTIONS=$top/none
  TEST_DEV=$(device test-device)
  SCRATCH_DEV=$(device scratch-device)
  loops="$TEST_DEV $SCRATCH_DEV"
  mkdir -p "$TEST_DIR" "$SCRATCH_MNT" "$RESULT_BASE"
  cd "$dir"
  ./check -overlay "$@" > "$top/log" 2>&1 || true
  cat "$top/log" >> "$RESULT_BASE/log"
  grep -E '^[a-z]+/[0-9]+' "$top/log" | awk -v driver="$driver" '
    /\[not run\]/ { skipped++; next }
    /\[failed|- output mismatch|_check_dmesg|\[expunged/ { failed = failed " " $1; next }
    { passed++ }
    END { printf "xfstests %s: %d passed, %d not run, failed:%s\n", driver, passed, skipped, failed ? failed : " none" }'
}
