// The table of functions (src/sys/native.ts documents each), and what a JavaScript thread owns.
#include "arena.h"
#include "budget.h"
#include "layout.h"
#include "napi_headers.h"
#include "peer.h"
#include "space.h"
#include "sync_tree.h"
#include "sys.h"
#include "thread.h"

// All that is used of libuv, as <uv.h> has it: not worth Node's whole set of headers.
extern "C" int uv_backend_fd(const uv_loop_s* loop);

namespace stratafs {

namespace {

// napi_set_property refuses to work once the thread is being terminated (worker.terminate(),
// process.exit() elsewhere), and that is the only sign of it that N-API gives.
bool alive(void* context) {
  Thread* const thread = static_cast<Thread*>(context);
  const Napi::Env env = thread->probe.Env();
  const Napi::HandleScope scope(env);
  return napi_set_property(env, thread->probe.Value(), Napi::Number::New(env, 0),
                           Napi::Number::New(env, 0)) == napi_ok;
}

int32_t attach(Thread& thread, int32_t fd) {
  const Napi::Env env = thread.buffer.Env();
  Napi::Float64Array view = Napi::Float64Array::New(env, kTallySize);
  const int32_t slot = thread.session->attach(fd, view.Data());
  if (slot < 0) return slot;
  if (static_cast<size_t>(slot) >= thread.counters.size()) thread.counters.resize(slot + 1);
  thread.counters[slot] = Napi::Persistent(view);
  return slot;
}

int32_t detach(Thread& thread, int32_t slot) {
  const int32_t done = thread.session->detach(slot);
  // -EBADF before anything was detached: there is no such slot.
  if (slot >= 0 && static_cast<size_t>(slot) < thread.counters.size())
    thread.counters[slot].Reset();
  if (slot >= 0 && static_cast<size_t>(slot) < thread.bare.size()) thread.bare[slot].Reset();
  return done;
}

int32_t next(Thread& thread, int32_t slot, uint32_t length) {
  return thread.session->next(slot, length, alive, &thread);
}

int32_t send(Thread& thread, int32_t slot, uint32_t at, uint32_t length) {
  const uint8_t* const message = thread.at(at, length);
  return message == nullptr ? -EFAULT : thread.session->send(slot, message, length);
}

int32_t setBacking(Thread& thread, int32_t slot, int64_t nodeid, int32_t fd, bool writable) {
  thread.session->setBacking(slot, nodeid, fd, writable);
  return 0;
}

int32_t keepTimes(Thread& thread, int32_t slot) {
  thread.session->keepTimes(slot);
  return 0;
}

int32_t holdTime(Thread& thread, int32_t slot, int64_t nodeid, int32_t fd) {
  thread.session->holdTime(slot, nodeid, fd);
  return 0;
}

int32_t putHeldTime(Thread& thread, int32_t fd) {
  thread.session->putHeldTime(fd);
  return 0;
}

int32_t timeSet(Thread& thread, int32_t slot, int64_t nodeid, int64_t seconds,
                uint32_t nanoseconds) {
  thread.session->timeSet(slot, nodeid, seconds, nanoseconds);
  return 0;
}

int32_t passthroughOpen(Thread& thread, int32_t slot, int32_t fd) {
  return thread.session->passthroughOpen(slot, fd);
}

int32_t passthroughClose(Thread& thread, int32_t slot, int32_t id) {
  return thread.session->passthroughClose(slot, id);
}

int32_t poolSync(Thread& thread, int32_t slot, int32_t fd, bool dataOnly) {
  return thread.session->poolSync(slot, fd, dataOnly);
}

int32_t poolRange(Thread& thread, int32_t slot, int32_t in, uint32_t inLo, uint32_t inHi,
                  int64_t nodeid, int32_t out, uint32_t outLo, uint32_t outHi, uint32_t size) {
  return thread.session->poolRange(slot, in, join(inLo, inHi), nodeid, out, join(outLo, outHi),
                                   size);
}

int32_t poolCopy(Thread& thread, int32_t slot, int32_t in, int32_t out, uint32_t sizeLo,
                 uint32_t sizeHi, bool sync, bool keepSize) {
  return thread.session->poolCopy(slot, in, out, join(sizeLo, sizeHi), sync, keepSize);
}

int32_t poolFlush(Thread& thread, int32_t slot, int64_t nodeid, uint32_t lo, uint32_t hi,
                  uint32_t sizeLo, uint32_t sizeHi) {
  return thread.session->poolFlush(slot, nodeid, join(lo, hi), join(sizeLo, sizeHi));
}

int32_t poolCensus(Thread& thread, int32_t slot, int32_t root, const std::string& marks) {
  return thread.session->poolCensus(slot, root, marks);
}

int32_t poolTruncate(Thread& thread, int32_t slot, int64_t nodeid, int32_t fd, uint32_t lo,
                     uint32_t hi, bool keepTime) {
  return thread.session->poolTruncate(slot, nodeid, fd, join(lo, hi), keepTime);
}

int32_t poolRoom(Thread& thread, int32_t slot) {
  return thread.session->poolRoom(slot);
}

int32_t poolAllocate(Thread& thread, int32_t slot, int64_t nodeid, int32_t fd, int32_t mode,
                     uint32_t lo, uint32_t hi, uint32_t sizeLo, uint32_t sizeHi) {
  return thread.session->poolAllocate(slot, nodeid, fd, mode, join(lo, hi), join(sizeLo, sizeHi));
}

int32_t poolStatfs(Thread& thread, int32_t slot, int32_t fd) {
  return thread.session->poolStatfs(slot, fd);
}

int32_t unlinkApart(Thread& thread, int32_t slot, int32_t dirfd, const Name& name) {
  return thread.session->unlink(slot, dirfd, name.c_str());
}

// 1 while blocks of removed files are on their way back to their file system.
int32_t freesPending(Thread&) {
  return space::pending() ? 1 : 0;
}

int32_t poolCancel(Thread& thread, int32_t job) {
  thread.session->poolCancel(job);
  return 0;
}

int32_t poolDone(Thread& thread, uint32_t at) {
  uint8_t* const out = thread.at(at, sizeof(int32_t));
  int32_t number = 0;
  int32_t done = 0;
  if (out == nullptr) return -EFAULT;
  if (!thread.session->poolDone(number, done)) return 0;
  std::memcpy(out, &done, sizeof done);
  return number;
}

int32_t lastSendError(Thread& thread) {
  return thread.session->takeSendError();
}

int32_t lastReadError(Thread& thread) {
  return thread.session->takeReadError();
}

int32_t wakeFd(Thread& thread) {
  return thread.session->wakeFd();
}

int32_t wakeAfter(Thread& thread, uint32_t ms) {
  return thread.session->wakeAfter(ms);
}

int32_t budgetKept(Thread&, int32_t delta) {
  return budget::keep(delta);
}

int32_t budgetJoin(Thread& thread) {
  return budget::join(thread.session->wakeFd());
}

int32_t budgetCall(Thread& thread, bool now) {
  return budget::call(now, thread.session->wakeFd());
}

int32_t budgetWait(Thread&, int32_t kept, uint32_t ms) {
  return budget::wait(kept, ms);
}

int32_t wake(Thread&, int32_t fd) {
  return Session::wake(fd);
}

// The functions of the session that do not return a small number.
Napi::Value park(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<Thread*>(info.Data())->session->park());
}

Napi::Value resumed(const Napi::CallbackInfo& info) {
  static_cast<Thread*>(info.Data())
      ->session->resumed(info[0].ToNumber().Int32Value(), info[1].ToNumber().Uint32Value(),
                         info[2].ToNumber().DoubleValue());
  return info.Env().Undefined();
}

Napi::Value shareBare(const Napi::CallbackInfo& info) {
  Thread* const thread = static_cast<Thread*>(info.Data());
  const int32_t slot = info[0].ToNumber().Int32Value();
  if (slot < 0 || !info[1].IsTypedArray()) return info.Env().Undefined();
  const Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  if (static_cast<size_t>(slot) >= thread->bare.size()) thread->bare.resize(slot + 1);
  thread->session->shareBare(slot, bytes.Data(), bytes.ElementLength());
  thread->bare[slot] = Napi::Persistent(bytes);
  return info.Env().Undefined();
}

Napi::Value counters(const Napi::CallbackInfo& info) {
  Thread* const thread = static_cast<Thread*>(info.Data());
  const int64_t slot = info[0].ToNumber().Int64Value();
  if (slot < 0 || static_cast<size_t>(slot) >= thread->counters.size() ||
      thread->counters[slot].IsEmpty()) {
    Napi::RangeError::New(info.Env(), "counters: no such slot").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  return thread->counters[slot].Value();
}

void defineSystemCalls(napi_env env, napi_value exports, Thread* t) {
  const napi_property_descriptor table[] = {
      method<sys::openat2>("openat2", t),
      method<sys::close>("close", t),
      method<sys::openTree>("openTree", t),
      method<sys::mountSetattr>("mountSetattr", t),
      method<sys::statx>("statx", t),
      method<sys::mknodat>("mknodat", t),
      method<sys::mkdirat>("mkdirat", t),
      method<sys::linkat>("linkat", t),
      method<sys::symlinkat>("symlinkat", t),
      method<sys::readlinkat>("readlinkat", t),
      method<sys::renameat2>("renameat2", t),
      method<sys::faccessat>("faccessat", t),
      method<sys::unlinkat>("unlinkat", t),
      method<sys::fchownat>("fchownat", t),
      method<sys::fchmodat>("fchmodat", t),
      method<sys::utimensat>("utimensat", t),
      method<sys::getdents64>("getdents64", t),
      method<sys::lseek>("lseek", t),
      method<sys::getxattr>("getxattr", t),
      method<sys::setxattr>("setxattr", t),
      method<sys::listxattr>("listxattr", t),
      method<sys::removexattr>("removexattr", t),
      method<sys::pread>("pread", t),
      method<sys::pwrite>("pwrite", t),
      method<sys::ftruncate>("ftruncate", t),
      method<sys::fallocate>("fallocate", t),
      method<sys::copyFileRange>("copyFileRange", t),
      method<sys::copyData>("copyData", t),
      method<sys::willNeed>("willNeed", t),
      method<sys::fsync>("fsync", t),
      method<sys::fdatasync>("fdatasync", t),
      method<sys::syncfs>("syncfs", t),
      method<sys::fstatfs>("fstatfs", t),
      method<sys::ioctl>("ioctl", t),
      method<sys::nameToHandleAt>("nameToHandleAt", t),
      method<sys::openByHandleAt>("openByHandleAt", t),
      method<sys::umask>("umask", t),
      method<sys::flock>("flock", t),
      method<sys::raiseNofile>("raiseNofile", t),
      method<sys::niceThread>("niceThread", t),
      method<sys::mount>("mount", t),
      method<sys::umount2>("umount2", t),
  };
  napi_define_properties(env, exports, std::size(table), table);
}

void defineSession(napi_env env, napi_value exports, Thread* t) {
  const napi_property_descriptor table[] = {
      method<attach>("attach", t),
      method<detach>("detach", t),
      method<next>("next", t),
      method<send>("send", t),
      method<setBacking>("setBacking", t),
      method<keepTimes>("keepTimes", t),
      method<holdTime>("holdTime", t),
      method<putHeldTime>("putHeldTime", t),
      method<timeSet>("timeSet", t),
      method<passthroughOpen>("passthroughOpen", t),
      method<passthroughClose>("passthroughClose", t),
      method<poolSync>("poolSync", t),
      method<poolRange>("poolRange", t),
      method<poolCopy>("poolCopy", t),
      method<poolFlush>("poolFlush", t),
      method<poolCensus>("poolCensus", t),
      method<poolTruncate>("poolTruncate", t),
      method<poolRoom>("poolRoom", t),
      method<poolAllocate>("poolAllocate", t),
      method<poolStatfs>("poolStatfs", t),
      method<unlinkApart>("unlinkApart", t),
      method<freesPending>("freesPending", t),
      method<poolCancel>("poolCancel", t),
      method<poolDone>("poolDone", t),
      method<lastSendError>("lastSendError", t),
      method<lastReadError>("lastReadError", t),
      method<budgetKept>("budgetKept", t),
      method<budgetJoin>("budgetJoin", t),
      method<budgetCall>("budgetCall", t),
      method<budgetWait>("budgetWait", t),
      method<wakeFd>("wakeFd", t),
      method<wake>("wake", t),
      method<wakeAfter>("wakeAfter", t),
  };
  napi_define_properties(env, exports, std::size(table), table);
}

void defineRest(napi_env env, napi_value exports, Thread* t) {
  const napi_property_descriptor table[] = {
      wrapped<counters>("counters", t),
      wrapped<park>("park", t),
      wrapped<shareBare>("shareBare", t),
      wrapped<resumed>("resumed", t),
      wrapped<arena>("arena"),
      wrapped<arenaGrow>("arenaGrow"),
      wrapped<arenaFree>("arenaFree"),
      wrapped<arenaTrim>("arenaTrim"),
      wrapped<layout>("layout"),
  };
  napi_define_properties(env, exports, std::size(table), table);
}

// A thread may be terminated while it loads the addon; every call that would run JavaScript then
// fails. Plain N-API here: the wrapper classes abort the process when they cannot throw. The one
// failure of another kind is thrown by name.
napi_value init(napi_env env, napi_value exports) {
  void* memory = nullptr;
  napi_value buffer = nullptr;
  napi_value probe = nullptr;
  if (napi_create_arraybuffer(env, kMemorySize, &memory, &buffer) != napi_ok ||
      napi_create_object(env, &probe) != napi_ok) {
    return exports;
  }
  auto* const thread = new Thread();
  Napi::Env(env).SetInstanceData<Thread>(thread);  // Deleted with the environment, on this thread.
  thread->memory = static_cast<uint8_t*>(memory);
  thread->buffer = Napi::Persistent(Napi::ArrayBuffer(env, buffer));
  thread->probe = Napi::Persistent(Napi::Object(env, probe));
  uv_loop_s* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  thread->session = std::make_unique<Session>(thread->memory, uv_backend_fd(loop));
  if (thread->session->broken() < 0) {
    napi_throw_error(env, nullptr, "stratafs native: no descriptor left for this thread's loop");
    return exports;
  }
  napi_set_named_property(env, exports, "memory", buffer);
  defineSystemCalls(env, exports, thread);
  defineSession(env, exports, thread);
  defineHost(env, exports);
  defineHostPaths(env, exports);
  defineSyncTree(env, exports);
  defineRest(env, exports, thread);
  return exports;
}

NAPI_MODULE(stratafs_native, init)

}  // namespace

}  // namespace stratafs
