// <napi.h> without its own warnings, which are not ours to fix.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <napi.h>
#pragma GCC diagnostic pop
