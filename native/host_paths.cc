// Work on paths and mounts for the host's main thread, on another thread where it can take long
// (apart.h). src/sys/native.ts documents each function.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "apart.h"
#include "bind.h"
#include "fuse_abi.h"
#include "fusermount.h"
#include "holders.h"
#include "peer.h"

namespace stratafs {

namespace {

// <linux/mount.h> and <sys/mount.h> cannot be had together everywhere.
constexpr unsigned kOpenCloexec = 1;    // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
constexpr unsigned kSetFlag = 0;        // FSCONFIG_SET_FLAG
constexpr unsigned kSetString = 1;      // FSCONFIG_SET_STRING
constexpr unsigned kCreate = 6;         // FSCONFIG_CMD_CREATE
constexpr unsigned kFromEmptyPath = 4;  // MOVE_MOUNT_F_EMPTY_PATH

int32_t codeOf(int64_t result) {
  return result < 0 ? -errno : static_cast<int32_t>(result);
}

std::vector<std::string> strings(Napi::Env env, Napi::Value value) {
  std::vector<std::string> all;
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++)
    all.push_back(latin1(env, array.Get(i)));
  return all;
}

Napi::Value syncPath(const Napi::CallbackInfo& info) {
  return runApart(info.Env(), false, [path = latin1(info.Env(), info[0])]() -> Outcome {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return {-errno, {}};
    const int32_t code = codeOf(::syncfs(fd));
    close(fd);
    return {code, {}};
  });
}

Napi::Value unmountPath(const Napi::CallbackInfo& info) {
  const int flags = info[1].ToNumber().Int32Value();
  return runApart(info.Env(), false, [path = latin1(info.Env(), info[0]), flags]() -> Outcome {
    return {codeOf(::umount2(path.c_str(), flags)), {}};
  });
}

// "ERRNO", or "DEV INO IS_DIRECTORY TYPE" with the type of the file system (statfs(2)).
std::string describe(const std::string& path) {
  const int fd = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return std::to_string(errno);
  struct stat info {};
  struct statfs system {};
  std::string text;
  if (fstat(fd, &info) != 0 || fstatfs(fd, &system) != 0) {
    text = std::to_string(errno);
  } else {
    text = std::to_string(info.st_dev) + " " + std::to_string(info.st_ino) + " " +
           (S_ISDIR(info.st_mode) ? "1 " : "0 ") +
           std::to_string(static_cast<uint32_t>(system.f_type));
  }
  close(fd);
  return text;
}

Napi::Value probePaths(const Napi::CallbackInfo& info) {
  Napi::Int32Array progress = info[1].As<Napi::Int32Array>();
  int32_t* const at = progress.Data();
  return runApart(
      info.Env(), true,
      [paths = strings(info.Env(), info[0]), at]() -> Outcome {
        std::string text;
        for (const std::string& path : paths) {
          text += describe(path) + "\n";
          __atomic_add_fetch(at, 1, __ATOMIC_RELAXED);
        }
        return {0, text};
      },
      progress);
}

Napi::Value lockPath(const Napi::CallbackInfo& info) {
  const int how = info[1].ToNumber().Int32Value();
  return runApart(info.Env(), false, [path = latin1(info.Env(), info[0]), how]() -> Outcome {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return {-errno, {}};
    if (flock(fd, how | LOCK_NB) == 0) return {fd, {}};
    const int error = errno;
    close(fd);
    return {-error, {}};
  });
}

Napi::Value createMount(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int context = static_cast<int>(syscall(SYS_fsopen, "fuse", kOpenCloexec));
  if (context < 0) return Napi::Number::New(env, -errno);
  int64_t done = 0;
  for (const std::string& word : strings(env, info[0])) {
    const size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    done =
        equals == std::string::npos
            ? syscall(SYS_fsconfig, context, kSetFlag, key.c_str(), nullptr, 0)
            : syscall(SYS_fsconfig, context, kSetString, key.c_str(), word.c_str() + equals + 1, 0);
    if (done < 0) break;
  }
  if (done >= 0) done = syscall(SYS_fsconfig, context, kCreate, nullptr, nullptr, 0);
  if (done >= 0)
    done = syscall(SYS_fsmount, context, kOpenCloexec, info[1].ToNumber().Uint32Value());
  const int32_t code = codeOf(done);
  close(context);
  return Napi::Number::New(env, code);
}

Napi::Value attachMount(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  return runApart(info.Env(), false, [path = latin1(info.Env(), info[1]), fd]() -> Outcome {
    return {codeOf(syscall(SYS_move_mount, fd, "", AT_FDCWD, path.c_str(), kFromEmptyPath)), {}};
  });
}

Napi::Value mountPath(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto flags = static_cast<unsigned long>(info[3].ToNumber().Int64Value());
  return runApart(
      env, false,
      [source = latin1(env, info[0]), target = latin1(env, info[1]), type = latin1(env, info[2]),
       flags, data = latin1(env, info[4])]() -> Outcome {
        return {codeOf(::mount(source.c_str(), target.c_str(), type.c_str(), flags, data.c_str())),
                {}};
      });
}

Napi::Value flushNodes(const Napi::CallbackInfo& info) {
  const int device = fcntl(info[0].ToNumber().Int32Value(), F_DUPFD_CLOEXEC, 3);
  const int64_t last = info[1].ToNumber().Int64Value();
  return runApart(info.Env(), false, [device, last]() -> Outcome {
    if (device < 0) return {-EBADF, {}};
    struct {
      fuse_out_header head;
      fuse_notify_inval_inode_out body;
    } message = {};
    message.head.len = sizeof message;
    message.head.error = FUSE_NOTIFY_INVAL_INODE;
    int32_t code = 0;
    for (int64_t node = 1; node <= last && code == 0; node++) {
      message.body.ino = static_cast<uint64_t>(node);
      // ENOENT: the kernel does not know it.
      if (write(device, &message, sizeof message) < 0 && errno != ENOENT) code = -errno;
    }
    close(device);
    // ENOTCONN, ENODEV: the mount has ended meanwhile.
    return {code == -ENOTCONN || code == -ENODEV ? 0 : code, {}};
  });
}

Napi::Value programMount(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return runApart(env, true,
                  [target = latin1(env, info[0]), options = latin1(env, info[1])]() -> Outcome {
                    Outcome outcome;
                    outcome.code = sys::runFusermount(target, options, outcome.text);
                    return outcome;
                  });
}

Napi::Value programUnmount(const Napi::CallbackInfo& info) {
  const bool lazy = info[1].ToBoolean();
  return runApart(info.Env(), true, [target = latin1(info.Env(), info[0]), lazy]() -> Outcome {
    Outcome outcome;
    outcome.code = sys::runFusermountOff(target, lazy, outcome.text);
    return outcome;
  });
}

Napi::Value holders(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t at) { return info[at].ToNumber().Uint32Value(); };
  return runApart(info.Env(), true,
                  [major = number(0), minor = number(1), most = number(2)]() -> Outcome {
                    return {0, holdersOf(major, minor, most)};
                  });
}

}  // namespace

void defineHostPaths(napi_env env, napi_value exports) {
  const napi_property_descriptor table[] = {
      wrapped<syncPath>("syncPath"),         wrapped<unmountPath>("unmountPath"),
      wrapped<probePaths>("probePaths"),     wrapped<lockPath>("lockPath"),
      wrapped<createMount>("createMount"),   wrapped<attachMount>("attachMount"),
      wrapped<mountPath>("mountPath"),       wrapped<flushNodes>("flushNodes"),
      wrapped<programMount>("programMount"), wrapped<programUnmount>("programUnmount"),
      wrapped<holders>("holders"),
  };
  napi_define_properties(env, exports, std::size(table), table);
}

}  // namespace stratafs
