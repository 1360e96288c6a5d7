// Runs calls that can take long or hang, each on a thread of its own, with a promise for
// JavaScript. A path may lie on a file system whose server has stopped; a few such paths would use
// up a pool.
#pragma once

#include "napi_headers.h"

#include <functional>
#include <string>

namespace stratafs {

struct Outcome {
  int32_t code = 0;  // >= 0, or -errno.
  std::string text;  // Only with `withText`.
};

// Not an errno: there are too many such threads, or none can be started, and `work` was not begun.
// Equal to NO_THREAD in src/base/errno.ts. EAGAIN, which pthread_create says, means something else
// to those who ask for flock(2) or umount2(2).
constexpr int32_t kNoThread = -0x10002;

// A promise of the code of `work`, or of [code, text] with `withText`; kNoThread for both. `keep`
// lives as long as the call.
Napi::Value runApart(Napi::Env env, bool withText, std::function<Outcome()> work,
                     Napi::Value keep = Napi::Value());

// A path as src/ holds it: one character per byte.
std::string latin1(Napi::Env env, Napi::Value value);

}  // namespace stratafs
