# LTP's file-system calls for run.sh: those of runtest/syscalls whose object is a file, runtest/fs with short
# runs, direct I/O, and rights. Each test is a process in a directory of the union, which is its TMPDIR.
# shellcheck shell=bash

ltp_calls='access|chdir|chmod|chown|chroot|close|close_range|copy_file_range|creat|dup|execve|execveat|faccessat
faccessat2|fallocate|fanotify|fchdir|fchmod|fchmodat|fchmodat2|fchown|fchownat|fcntl|fdatasync|fgetxattr|file_attr
flistxattr|flock|fpathconf|fremovexattr|fsetxattr|fstat|fstatat|fstatfs|fsync|ftruncate|futimesat|getcwd|getdents
getxattr|inotify|ioctl_ficlone|ioctl_ficlonerange|ioctl_fiemap|lchown|lgetxattr|link|linkat|listxattr|llistxattr|llseek
lremovexattr|lseek|lstat|mkdir|mkdirat|mknod|mknodat|mmap|mremap|msync|munmap|name_to_handle_at|nftw|open
open_by_handle_at|openat|openat2|pathconf|posix_fadvise|pread|preadv|preadv2|pwrite|pwritev|pwritev2|read|readahead
readdir|readlink|readlinkat|readv|realpath|remap_file_pages|removexattr|rename|renameat|rmdir|sendfile|setxattr|splice
stat|statfs|statvfs|statx|symlink|symlinkat|sync|sync_file_range|syncfs|tee|truncate|umask|unlink|unlinkat|ustat|utime
utimensat|utimes|vmsplice|write|writev|cachestat|io_submit|io_uring|prot_hsymlinks'

ltp_tests() {
  local calls
  calls=$(tr '\n' '|' <<< "$ltp_calls")
  grep -E "^(${calls%|})[0-9]*(_64|_16|_[0-9a-z]+)?[[:space:]]" "$dir/runtest/syscalls" | grep -vE '^[a-z0-9]*_16[[:space:]]'
  # What runs until a time is up does so for five seconds; and without what is about /proc, images and quotas.
  grep -E '^[a-z]' "$dir/runtest/fs" |
    grep -vE '^(proc01|read_all|quota_remount|isofs|squashfs|binfmt|fs_fill)' |
    sed -E 's/-L [0-9]+/-L 5/; s/-i (60|120)s/-i 5s/'
  grep -hE '^[a-z]' "$dir/runtest/dio" "$dir/runtest/fs_perms_simple"
}

ltp() { # [NAME...]: all tests, or those named
  local name command code passed=0 skipped=0 failed=''
  mkdir -p "$top"/l1 "$top"/l2 "$top"/u "$top"/w "$top"/m
  chmod 755 "$top"
  union ''
  mkdir -m 1777 "$top/m/tmp"
  export TMPDIR=$top/m/tmp PATH=$dir/testcases/bin:$PATH LTPROOT=$dir LTP_COLORIZE_OUTPUT=0
  local results=${FOREIGN_RESULTS:-$top/results}
  mkdir -p "$results"
  while read -r name command; do
    case " $* " in '  ' | *" $name "*) ;; *) continue ;; esac
    code=0
    (cd "$TMPDIR" && exec timeout -k 5 120 sh -c "$command") > "$results/$name" 2>&1 < /dev/null || code=$?
    case $code in
      0 | 4) passed=$((passed + 1)) ;;
      # 127: it was not built.
      32 | 36 | 127) skipped=$((skipped + 1)) ;;
      *) failed="$failed $name($code)" ;;
    esac
    find "$TMPDIR" -mindepth 1 -delete 2> /dev/null || true
  done < <(ltp_tests)
  cd /
  umount "$top/m"
  echo "ltp $driver: $passed passed, $skipped not for this machine, failed:${failed:- none}"
}
