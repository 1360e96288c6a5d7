// Arenas: memfds mapped shared, seen from JavaScript as array buffers.
#pragma once

#include "napi_headers.h"

namespace stratafs {

// (bytes) -> ArrayBuffer; throws when the memory cannot be had.
Napi::Value arena(const Napi::CallbackInfo& info);
// (arena, bytes) -> ArrayBuffer of the same memfd, extended.
Napi::Value arenaGrow(const Napi::CallbackInfo& info);
// (arena) -> descriptor or -errno.
// (arena) -> 0 or -errno; unmaps and closes at once, and detaches the array buffer.
Napi::Value arenaFree(const Napi::CallbackInfo& info);
// (arena, from, to) -> 0 or -errno.
Napi::Value arenaTrim(const Napi::CallbackInfo& info);

}  // namespace stratafs
