#pragma once
#include <sys/types.h>

#include <optional>

#include "supervisor/task.hpp"

namespace lastcall {

/// What a wait as a plain init has come to.
struct PlainWait {
    std::optional<ExitStatus> exit;  ///< the command's, if it has ended
    bool over = false;               ///< nothing of it is left, and there is nothing to tell
};

/// Waits for the command as the smallest init would, and reaps: while nobody can ask us for
/// anything, that is all there is to do, and a command that ends by itself needs no more. Returns
/// when it has ended, or when more has to be done: a signal has come (it stays pending), the
/// command was stopped, something of it is left.
PlainWait wait_plainly(pid_t command);

}  // namespace lastcall
