#pragma once

#include "napi_headers.h"

namespace stratafs {

// syncTree: fsync of everything beneath a directory, off the JavaScript thread.
void defineSyncTree(napi_env env, napi_value exports);

}  // namespace stratafs
