#include "launcher.h"
#include "launcher_words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace launcher {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

std::string readFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t n; fd && (n = read(fd.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<size_t>(n));
  return text;
}

bool writeFile(const std::string& path, const std::string& text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string errorText(int error) {
  return strerror(error);
}

void fail(const std::string& sentence, int code) {
  std::string line = "stratafs: ";
  for (const char c : sentence) {
    // A name could move the cursor of a terminal.
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      line += {'\\', 'x', kHex[(c >> 4) & 15], kHex[c & 15]};
    } else {
      line += c;
    }
  }
  line += '\n';
  // Nobody is left to tell when stderr itself is gone.
  (void)!write(STDERR_FILENO, line.data(), line.size());
  exit(code);
}

std::string installRoot() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0 || length == static_cast<ssize_t>(sizeof path)) {
    fail("cannot read /proc/self/exe (" + errorText(errno) + "): mount /proc first");
  }
  std::string root(path, static_cast<size_t>(length));
  for (int level = 0; level < 3; level++) {  // ROOT/build/Release/stratafs
    const size_t slash = root.rfind('/');
    root.resize(slash == std::string::npos ? 0 : slash);
  }
  return root;
}

namespace {

// The programs to try as node, best first. Engines call the launcher with a PATH of their own, on
// which node need not be.
std::vector<std::string> nodePrograms() {
  const char* chosen = getenv("STRATAFS_NODE");
  if (chosen != nullptr && *chosen != '\0') return {chosen};
  const std::string root = installRoot();
  // A Debian package can bring a node of its own (packaging/deb.js).
  std::vector<std::string> programs = {root + "/runtime/node"};
  // Built from source: the node that built it. Nothing in a package.
  if (*STRATAFS_NODE != '\0') programs.emplace_back(STRATAFS_NODE);
  // PREFIX/lib/node_modules/...: installed with `npm install --global` by PREFIX/bin/node.
  const size_t global = root.find("/lib/node_modules/");
  if (global != std::string::npos) programs.push_back(root.substr(0, global) + "/bin/node");
  programs.insert(programs.end(), {"node", "/usr/local/bin/node", "/usr/bin/node"});
  return programs;
}

}  // namespace

int execNode(const std::string& script, const std::vector<std::string>& args, char* const env[]) {
  const std::string path = installRoot() + "/" + script;
  if (access(path.c_str(), R_OK) != 0) {
    const int error = errno;
    const std::string text = "stratafs: cannot read " + path + " (" + errorText(error) +
                             "): build it with npm install\n";
    (void)!write(STDERR_FILENO, text.data(), text.size());
    _exit(1);
  }
  // One thread to compile and collect on: the usual four take the cores from the engine and its
  // client while the code is new (a first cold tar read: 0.70 s instead of 0.96 s on two cores).
  std::vector<char*> argv = {const_cast<char*>("node"), const_cast<char*>("--v8-pool-size=1"),
                             const_cast<char*>(path.c_str())};
  for (const std::string& arg : args)
    argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  int error = ENOENT;
  for (const std::string& program : nodePrograms()) {
    execvpe(program.c_str(), argv.data(), env);
    if (errno != ENOENT && errno != ENOTDIR) error = errno;
  }
  return error;
}

namespace {

enum class Mode { mount, unmount, serve, start, text, behind, commandLine };

struct Scan {
  bool options = false;    // -o was given: this asks for a mount
  bool elsewhere = false;  // a word only the Node command line knows
  int firstWord = 0;       // index of the first argument that is not an option
  int lastWord = 0;        // of the last one: the mount point
};

// Short options that may be bundled: what mount(8) hands its helpers without meaning for us.
constexpr std::string_view kHelperFlags = "nsv";

bool helperFlags(std::string_view arg) {
  return arg.size() > 1 && arg.find_first_not_of(kHelperFlags, 1) == std::string_view::npos;
}

Scan scan(int argc, char** argv) {
  Scan found;
  for (int i = 1; i < argc; i++) {
    const std::string_view arg = argv[i];
    if (arg == "--") {
      if (found.firstWord == 0 && i + 1 < argc) found.firstWord = i + 1;
      if (i + 1 < argc) found.lastWord = argc - 1;
      break;
    }
    if (arg.size() < 2 || arg[0] != '-') {
      if (found.firstWord == 0) found.firstWord = i;
      found.lastWord = i;
    } else if (arg.starts_with("-o")) {
      found.options = true;
      if (arg.size() == 2) i++;
    } else if (arg.starts_with("-t")) {
      if (arg.size() == 2) i++;
    } else if (!helperFlags(arg)) {
      found.elsewhere = true;
    }
  }
  return found;
}

// The store's command, behind the flags that may stand before it (src/cli/frame/command.ts).
std::string_view storeWord(int argc, char** argv) {
  for (int i = 1; i < argc; i++) {
    const std::string_view arg = argv[i];
    if (arg == "--root")
      i++;
    else if (!arg.starts_with("--root=") && !arg.starts_with("--no-sync"))
      return isStoreWord(arg) ? arg : std::string_view();
  }
  return {};
}

// Empty when it cannot be read: the host then refuses relative paths, and no others.
std::string currentDirectory() {
  char* path = getcwd(nullptr, 0);
  // The kernel answers "(unreachable)..." for a directory outside the root.
  std::string found = path != nullptr && path[0] == '/' ? path : "";
  free(path);
  return found;
}

// "diff", "logs" or "stats" about containers, and not about mounts: the same rule as in
// src/cli/containers/named.ts.
bool namesContainer(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word != "diff" && word != "logs" && word != "stats") return false;
  int names = 0;
  for (int i = 2; i < argc; i++) {
    const std::string_view arg = argv[i];
    if (word != "logs" && (arg.starts_with("--upper") || arg.starts_with("--lower"))) return false;
    if (arg.starts_with('-')) continue;
    names++;
    struct stat found {};
    // A mount is not asked: it may not answer.
    const bool directory = isMountPoint(currentDirectory() + "/" + argv[i]) ||
                           (stat(argv[i], &found) == 0 && S_ISDIR(found.st_mode));
    if (word != "logs" && (directory || arg.find('/') != std::string_view::npos)) return false;
  }
  return names > 0 || word == "stats";
}

// The file that answers --help or --version, which the build has made (packaging/texts.js).
std::string textFile(int argc, char** argv) {
  if (argc != 2) return {};
  const std::string_view arg = argv[1];
  if (arg == "--help" || arg == "-h" || arg == "help") return "dist/help.txt";
  if (arg == "--version" || arg == "-V") return "dist/version.txt";
  return {};
}

bool asksForHelp(int argc, char** argv) {
  return std::any_of(argv + 2, argv + argc, [](const char* arg) {
    return std::string_view(arg) == "--help" || std::string_view(arg) == "-h";
  });
}

Mode classify(int argc, char** argv) {
  if (!storeWord(argc, argv).empty()) return Mode::commandLine;
  const Scan found = scan(argc, argv);
  if (found.options && found.elsewhere) return Mode::commandLine;
  // An open /dev/fuse of the caller's (src/options/plan.ts): the host has other descriptors.
  const bool given = std::string_view(argv[found.lastWord]).starts_with("/dev/fd/");
  if (found.options) return given ? Mode::behind : Mode::mount;
  if (!textFile(argc, argv).empty()) return Mode::text;
  if (found.firstWord == 1) {
    const std::string_view word = argv[1];
    if (word == "unmount" || word == "umount")
      return asksForHelp(argc, argv) ? Mode::commandLine : Mode::unmount;
    const std::string_view next = argc == 3 ? argv[2] : "";
    if (word == "host" && next == "serve") return Mode::serve;
    if (word == "host" && next == "start") return Mode::start;
  }
  return Mode::commandLine;
}

// The reference, which we may be called as: a link to us of that name.
constexpr const char* kReference = "fuse-overlayfs";
constexpr const char* kDotWhiteouts = "FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT";

// What Node is told of the name (src/cli/mount.ts), as it sees its own; so is the launcher by the
// script that stands for it in a package (packaging/stratafs.sh).
constexpr const char* kCalledAs = "STRATAFS_AS";

bool calledAsReference(std::string_view program) {
  const size_t slash = program.rfind('/');
  if (program.substr(slash == std::string_view::npos ? 0 : slash + 1) == kReference) return true;
  const char* told = getenv(kCalledAs);
  return told != nullptr && told == std::string_view(kReference);
}

// Without its end: `ask` adds the build.
std::string mountRequest(int argc, char** argv) {
  std::string line = "{\"argv\":[";
  for (int i = 1; i < argc; i++) {
    if (i > 1) line += ',';
    line += quoteBytes(argv[i]);
  }
  line += "],\"cwd\":" + quoteBytes(currentDirectory());
  if (calledAsReference(argv[0])) line += ",\"as\":\"fuse-overlayfs\"";
  if (getenv(kDotWhiteouts) != nullptr) line += ",\"dotWhiteouts\":true";
  return line;
}

void print(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    // The reader left: the exit code still tells.
    if (n < 0 && (errno == EPIPE || fd != STDOUT_FILENO)) return;
    if (n < 0) fail("cannot write to the standard output: " + errorText(errno));
    if (n > 0) done += static_cast<size_t>(n);
  }
}

// True with what the file holds on standard output; false when there is none (a tree without its
// build).
bool printFile(const std::string& name) {
  const Fd fd(open((installRoot() + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t n; (n = read(fd.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<size_t>(n));
  print(STDOUT_FILENO, text);
  return true;
}

int run(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (argc > 0 && calledAsReference(argv[0])) setenv(kCalledAs, kReference, 1);
  switch (classify(argc, argv)) {
    case Mode::unmount:
      return unmount({args.begin() + 1, args.end()});
    case Mode::mount: {
      const Answer answer = ask(findPlace(), mountRequest(argc, argv));
      print(STDOUT_FILENO, answer.out);
      print(STDERR_FILENO, answer.err);
      return answer.code;
    }
    case Mode::serve:
      serveUnit();
    case Mode::start:
      // A mount without a mount point: whoever refuses it is there.
      ask(findPlace(), "{\"argv\":[],\"cwd\":\"/\"");
      return 0;
    case Mode::text:
      if (printFile(textFile(argc, argv))) return 0;
      break;
    case Mode::behind:
      return serveBehind(args);
    case Mode::commandLine:
      break;
  }
  const std::string_view word = storeWord(argc, argv);
  if ((!word.empty() && !isService(word)) || namesContainer(argc, argv)) enterUserNamespace();
  const int error = execNode("dist/cli/main.js", args, environ);
  fail("cannot start node (" + errorText(error) + "): install Node 20 or set STRATAFS_NODE");
}

}  // namespace
}  // namespace launcher

int main(int argc, char** argv) {
  return launcher::run(argc, argv);
}
