#ifndef STRATAFS_LAUNCHER_WORDS_H
#define STRATAFS_LAUNCHER_WORDS_H

#include <algorithm>
#include <string_view>

namespace launcher {

// The commands of the store, by their first word (src/cli/words.ts; a test compares them). They go
// to Node whatever their flags: -o means something else there than in a mount.
// A line each, in order.
// clang-format off
inline constexpr std::string_view kStoreWords[] = {
    "attach",
    "build",
    "builder",
    "commit",
    "container",
    "cp",
    "create",
    "exec",
    "explore",
    "export",
    "fsck",
    "gc",
    "history",
    "image",
    "images",
    "import",
    "inspect",
    "install",
    "kill",
    "layer",
    "load",
    "pause",
    "port",
    "ps",
    "pull",
    "push",
    "rename",
    "restart",
    "rm",
    "rmi",
    "run",
    "save",
    "snapshotter",
    "start",
    "stop",
    "tag",
    "top",
    "uninstall",
    "unpause",
    "update",
    "volume",
    "volume-plugin",
    "wait",
};
// clang-format on

inline bool isStoreWord(std::string_view word) {
  return std::ranges::find(kStoreWords, word) != std::end(kStoreWords);
}

// Those that run as their user, in no user namespace: what serves other programs, and what writes
// their configuration.
inline bool isService(std::string_view word) {
  return word == "snapshotter" || word == "volume-plugin" || word == "install" ||
         word == "uninstall";
}

}  // namespace launcher

#endif  // STRATAFS_LAUNCHER_WORDS_H
