{
  'targets': [
    {
      'target_name': 'stratafs_native',
      'sources': [
        'native/addon.cc',
        'native/apart.cc',
        'native/arena.cc',
        'native/budget.cc',
        'native/census.cc',
        'native/copy.cc',
        'native/host_paths.cc',
        'native/holders.cc',
        'native/identity.cc',
        'native/layout.cc',
        'native/mount.cc',
        'native/peer.cc',
        'native/placement.cc',
        'native/pool.cc',
        'native/session.cc',
        'native/requests.cc',
        'native/session_io.cc',
        'native/session_pool.cc',
        'native/space.cc',
        'native/sync_tree.cc',
        'native/sys_data.cc',
        'native/sys_names.cc',
        'native/sys_xattr.cc',
        'native/times.cc',
      ],
      # The last: a thread terminated while it loads the addon must not abort the process.
      'defines': ['NAPI_VERSION=9', 'NAPI_DISABLE_CPP_EXCEPTIONS',
                  'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")',
                       '<!(node -p "require(\'node-api-headers\').include_dir")'],
      'cflags': ['-Wall', '-Wextra', '-Wshadow', '-fvisibility=hidden', '-O2'],
      'cflags!': ['-O3', '-Wno-unused-parameter'],
      'cflags_cc': ['-std=c++20', '-fno-exceptions', '-fno-rtti'],
      'cflags_cc!': ['-std=gnu++17'],
      # An older libstdc++ than that of the machine which built it serves as well.
      'ldflags': ['-static-libstdc++', '-Wl,--exclude-libs,ALL', '-Wl,--gc-sections'],
    },
    {
      'target_name': 'stratafs',
      'type': 'executable',
      'sources': ['<!@(ls native/launcher*.cc)', 'native/holders.cc', 'native/identity.cc'],
      # The node that builds it also runs it, but for a package (packaging/), which is for others.
      'defines': ['STRATAFS_NODE="<!(node -p "process.env.STRATAFS_PACKAGE ? \'\' : process.execPath")"'],
      'cflags': ['-Wall', '-Wextra', '-Wshadow', '-fvisibility=hidden', '-O2'],
      'cflags!': ['-O3', '-Wno-unused-parameter'],
      'cflags_cc': ['-std=c++20', '-fno-exceptions', '-fno-rtti'],
      'cflags_cc!': ['-std=gnu++17'],
      # It runs on every mount, before anything else of ours: nothing to load and resolve at start.
      # Where the C library cannot be linked in (no libc.a), the rest is.
      'ldflags': ['-static-libstdc++', '-static-libgcc',
                  '<!@(echo "int main() {}" | ${CXX:-c++} -static -x c++ -o /dev/null - 2>/dev/null && echo -static || true)'],
    },
  ],
}
