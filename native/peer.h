// Functions for the host's main thread only: the identity of a peer on its socket, calls on mounts
// that may take long, and the way out.
#pragma once

#include "napi_headers.h"

namespace stratafs {

void defineHost(napi_env env, napi_value exports);
// host_paths.cc
void defineHostPaths(napi_env env, napi_value exports);

}  // namespace stratafs
