// <napi.h> without its own warnings (it is not ours to mend).
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <napi.h>
#pragma GCC diagnostic pop
