#pragma once

#include "napi_headers.h"

namespace stratafs {

// () -> { "struct": size, "struct.field": offset, "memory.REGION": byte, "const.NAME": value }.
Napi::Value layout(const Napi::CallbackInfo& info);

}  // namespace stratafs
