#pragma once
#include <optional>
#include <string>

#include "supervisor/phase.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// Somebody's wish to stop a task. The first one sets the limits and may ask for longer than
/// configured; one that joins a stop in progress may only shorten it. Delays count from the
/// request.
struct StopRequest {
    StopCode code = StopCode::user_initiated;
    std::string reason = "Task stopped by user";
    Requester by;
    bool drain = true;   ///< false: deregister, but don't wait for connections
    bool force = false;  ///< SIGKILL now
    std::optional<Clock::duration>
        stop_timeout;  ///< from the stop signal, or from now if that was sent
    std::optional<Clock::duration> drain_timeout;
    std::optional<Clock::duration> deadline;  ///< until somebody else kills us
    std::optional<int> signal;                ///< instead of the configured stop signal
};

}  // namespace lastcall
