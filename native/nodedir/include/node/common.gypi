# What node-gyp wants of a Node source tree. Its own way is to fetch Node's headers from nodejs.org;
# the addon needs no more than the Node-API headers, which the npm package node-api-headers has.
# So it is built with the same flags for every version of Node, and from the npm registry alone.
{
  'variables': {
    'clang%': 0,
    'node_engine%': 'v8',
    'visibility%': 'hidden',
  },
  'target_defaults': {
    'default_configuration': 'Release',
    'configurations': {
      'Debug': { 'defines': ['DEBUG', '_DEBUG'], 'cflags': ['-g', '-O0'] },
      'Release': { 'cflags': ['-O3', '-fno-omit-frame-pointer'] },
    },
    'defines': ['_LARGEFILE_SOURCE', '_FILE_OFFSET_BITS=64', '_GLIBCXX_USE_CXX11_ABI=1'],
    'cflags': ['-Wall', '-Wextra', '-Wno-unused-parameter', '-pthread'],
    'cflags_cc': ['-fno-rtti', '-fno-exceptions', '-fno-strict-aliasing', '-std=gnu++17'],
    'ldflags': ['-pthread'],
    'target_conditions': [
      ['_type=="loadable_module"', { 'cflags': ['-fPIC'] }],
    ],
  },
}
