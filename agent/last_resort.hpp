#pragma once
#include <sys/types.h>

#include <string_view>

namespace lastcall {

/// What is left when the agent itself has failed while its command runs: a plain init, that passes
/// signals on and reaps until the command ends. It allocates nothing, and never throws. Returns the
/// command's exit code, 128+N for a signal, or 125 if somebody else has reaped it.
int be_plain_init(pid_t command, std::string_view why);

}  // namespace lastcall
