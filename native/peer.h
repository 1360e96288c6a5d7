// What only the host's main thread needs: who is at the other end of its socket, the calls on
// mounts that may take long, and the way out.
#pragma once

#include "napi_headers.h"

namespace stratafs {

void defineHost(Napi::Env env, Napi::Object exports);

}  // namespace stratafs
