// Turns a plain C++ function `int32_t f(Thread&, int32_t, const Name&, uint32_t ...)` into a
// JavaScript function. It uses raw N-API: these functions run several times for each request, and
// the wrapper classes would cost more than most of the system calls.
#pragma once

#include "napi_headers.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "thread.h"

namespace stratafs {

// A name or path of at most PATH_MAX - 1 bytes, on the stack, NUL-terminated.
class Name {
 public:
  Name() {}  // Leaves the bytes alone: zeroing 4 KiB per argument would be the main cost.
  const char* c_str() const { return bytes_; }
  bool empty() const { return bytes_[0] == '\0'; }

 private:
  template <typename T>
  friend struct Arg;
  static constexpr size_t kCapacity = 4096;
  char bytes_[kCapacity + 1];
};

// load() returns 0, an errno, or kWrongType.
inline constexpr int kWrongType = -1;

template <typename T>
struct Arg;

template <>
struct Arg<int32_t> {
  int32_t value;
  Arg() {}
  int load(napi_env env, napi_value from) {
    return napi_get_value_int32(env, from, &value) == napi_ok ? 0 : kWrongType;
  }
};

template <>
struct Arg<uint32_t> {
  uint32_t value;
  Arg() {}
  int load(napi_env env, napi_value from) {
    return napi_get_value_uint32(env, from, &value) == napi_ok ? 0 : kWrongType;
  }
};

template <>
struct Arg<int64_t> {
  int64_t value;
  Arg() {}
  int load(napi_env env, napi_value from) {
    return napi_get_value_int64(env, from, &value) == napi_ok ? 0 : kWrongType;
  }
};

template <>
struct Arg<bool> {
  bool value;
  Arg() {}
  int load(napi_env env, napi_value from) {
    return napi_get_value_bool(env, from, &value) == napi_ok ? 0 : kWrongType;
  }
};

template <>
struct Arg<Name> {
  Name value;
  Arg() {}
  int load(napi_env env, napi_value from) {
    size_t length = 0;
    if (napi_get_value_string_latin1(env, from, value.bytes_, sizeof value.bytes_, &length) !=
        napi_ok) {
      return kWrongType;
    }
    if (length >= Name::kCapacity) return ENAMETOOLONG;
    return std::strlen(value.bytes_) == length ? 0 : EINVAL;  // A NUL would cut the name short.
  }
};

// For the few arguments that may be longer than a path (mount options).
template <>
struct Arg<std::string> {
  std::string value;
  Arg() {}
  int load(napi_env env, napi_value from) {
    size_t length = 0;
    if (napi_get_value_string_latin1(env, from, nullptr, 0, &length) != napi_ok) return kWrongType;
    value.resize(length);
    if (napi_get_value_string_latin1(env, from, value.data(), length + 1, &length) != napi_ok) {
      return kWrongType;
    }
    return std::strlen(value.c_str()) == length ? 0 : EINVAL;
  }
};

inline napi_value number(napi_env env, int32_t value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

template <typename... A, size_t... I>
napi_value invoke(int32_t (*fn)(Thread&, A...), Thread& thread, napi_env env, napi_value* argv,
                  std::index_sequence<I...>) {
  std::tuple<Arg<std::decay_t<A>>...> args;
  int error = 0;
  static_cast<void>((((error = std::get<I>(args).load(env, argv[I])) == 0) && ...));
  if (error == kWrongType) {
    napi_throw_type_error(env, nullptr,
                          "stratafs native: an argument is missing or of the wrong type");
    return nullptr;
  }
  return number(env, error != 0 ? -error : fn(thread, std::get<I>(args).value...));
}

template <auto Fn>
struct Bound;

template <typename... A, int32_t (*Fn)(Thread&, A...)>
struct Bound<Fn> {
  static napi_value call(napi_env env, napi_callback_info info) {
    napi_value argv[sizeof...(A) + 1];
    size_t argc = sizeof...(A);
    void* data = nullptr;
    // Missing arguments read as undefined, which load() refuses.
    napi_get_cb_info(env, info, &argc, argv, nullptr, &data);
    return invoke<A...>(Fn, *static_cast<Thread*>(data), env, argv,
                        std::index_sequence_for<A...>{});
  }
};

template <auto Fn>
napi_property_descriptor method(const char* name, Thread* thread) {
  return {name, nullptr, Bound<Fn>::call, nullptr, nullptr, nullptr, napi_enumerable, thread};
}

// A function on the wrapper classes, as a row of a property table. `data` is its info.Data().
template <auto Fn>
napi_property_descriptor wrapped(const char* name, void* data = nullptr) {
  const auto call = [](napi_env env, napi_callback_info raw) -> napi_value {
    const Napi::CallbackInfo info(env, raw);
    if constexpr (std::is_void_v<decltype(Fn(info))>) {
      Fn(info);
      return nullptr;
    } else {
      return Fn(info);
    }
  };
  return {name, nullptr, call, nullptr, nullptr, nullptr, napi_enumerable, data};
}

// -errno after a failed call, else the result.
template <typename T>
int32_t result(T value) {
  return value < 0 ? -errno : static_cast<int32_t>(value);
}

inline int64_t join(uint32_t lo, uint32_t hi) {
  return static_cast<int64_t>(static_cast<uint64_t>(hi) << 32 | lo);
}

}  // namespace stratafs
