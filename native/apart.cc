#include "apart.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <utility>

namespace stratafs {

namespace {

// All of them at once; each that hangs takes one until its file system answers.
constexpr int kMostThreads = 256;
constexpr size_t kStack = 256 << 10;
std::atomic<int> threads = 0;

struct Call {
  Call(Napi::Env env, bool text, std::function<Outcome()> what)
      : withText(text), work(std::move(what)), done(Napi::Promise::Deferred::New(env)) {}
  const bool withText;
  const std::function<Outcome()> work;
  Napi::Promise::Deferred done;
  Napi::Reference<Napi::Value> keep;
  napi_threadsafe_function finish = nullptr;
  Outcome outcome;
};

Napi::Value valueOf(Napi::Env env, const Call& call) {
  const Napi::Number code = Napi::Number::New(env, call.outcome.code);
  if (!call.withText) return code;
  Napi::Array both = Napi::Array::New(env, 2);
  napi_value text = nullptr;
  napi_create_string_latin1(env, call.outcome.text.data(), call.outcome.text.size(), &text);
  both.Set(0U, code);
  both.Set(1U, Napi::Value(env, text));
  return both;
}

// On the JavaScript thread; without `env` it is ending.
void settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Call> call(static_cast<Call*>(data));
  if (env == nullptr) {
    call->keep.SuppressDestruct();
    return;
  }
  call->done.Resolve(valueOf(env, *call));
}

void* run(void* data) {
  Call* const call = static_cast<Call*>(data);
  call->outcome = call->work();
  threads--;
  const napi_threadsafe_function finish = call->finish;
  // napi_closing: the JavaScript thread has ended, and nobody waits.
  if (napi_call_threadsafe_function(finish, call, napi_tsfn_blocking) == napi_ok)
    napi_release_threadsafe_function(finish, napi_tsfn_release);
  return nullptr;
}

bool startThread(Call* call) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStack);
  // Signals are the main thread's business.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool made = pthread_create(&thread, &attributes, run, call) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return made;
}

}  // namespace

Napi::Value runApart(Napi::Env env, bool withText, std::function<Outcome()> work,
                     Napi::Value keep) {
  auto call = std::make_unique<Call>(env, withText, std::move(work));
  const Napi::Promise promise = call->done.Promise();
  if (!keep.IsEmpty()) call->keep = Napi::Reference<Napi::Value>::New(keep, 1);
  napi_value name = nullptr;
  napi_create_string_utf8(env, "stratafs-apart", NAPI_AUTO_LENGTH, &name);
  call->outcome.code = kNoThread;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
                                      settle, &call->finish) != napi_ok) {
    call->done.Resolve(valueOf(env, *call));
    return promise;
  }
  if (threads.fetch_add(1) < kMostThreads && startThread(call.get())) {
    static_cast<void>(call.release());  // Deleted by `settle`.
    return promise;
  }
  threads--;
  napi_release_threadsafe_function(call->finish, napi_tsfn_release);
  call->done.Resolve(valueOf(env, *call));
  return promise;
}

std::string latin1(Napi::Env env, Napi::Value value) {
  size_t length = 0;
  if (napi_get_value_string_latin1(env, value, nullptr, 0, &length) != napi_ok) return {};
  std::string path(length + 1, '\0');
  napi_get_value_string_latin1(env, value, path.data(), path.size(), &length);
  path.resize(length);
  return path;
}

}  // namespace stratafs
