// What one JavaScript thread (one napi_env) owns: its shared memory and its session.
#pragma once

#include "napi_headers.h"

#include <memory>
#include <vector>

#include "memory.h"
#include "session.h"

namespace stratafs {

struct Thread {
  // The array buffer behind `memory`; the reference keeps it from being collected while any
  // function of this thread can still write to it.
  Napi::Reference<Napi::ArrayBuffer> buffer;
  uint8_t* memory = nullptr;
  std::unique_ptr<Session> session;
  // By slot: the array that the session increments while the slot is attached.
  std::vector<Napi::Reference<Napi::Float64Array>> counters;
  // By slot: the array that `shareBare` gave its session.
  std::vector<Napi::Reference<Napi::Uint8Array>> bare;
  // Written to now and then to learn whether this thread may still run JavaScript.
  Napi::ObjectReference probe;

  // The bytes [offset, offset + size) of the memory, or null when they are not all inside it.
  uint8_t* at(uint32_t offset, uint32_t size) const {
    if (offset > kMemorySize || size > kMemorySize - offset) return nullptr;
    return memory + offset;
  }
};

}  // namespace stratafs
