// What a process may do and see, as one text. Two processes with equal texts could do each other's
// work. A host acts only for peers whose text is that of the launcher which started it. The
// launcher asks for its own text, the addon for that of peers.
#pragma once

#include <string>

namespace stratafs {

// The text of the process whose directory in /proc `procDir` is; empty, with errno set, when it
// cannot be read. Lines: uid, gid, groups, capabilities, no_new_privs, seccomp, namespaces, root
// directory, security label.
std::string identityOf(int procDir);

// The same for this process.
std::string ownIdentity();

// FNV-1a of 64 bits, as 16 hexadecimal digits: short names for long texts, no protection.
std::string shortHash(const std::string& text);

}  // namespace stratafs
