#pragma once
#include <string>
#include <vector>

#include "agent/api/types.hpp"
#include "cli/session.hpp"

namespace lastcall::cli {

/// What `stop` and `restart` take alike.
struct StopFlags {
    std::vector<std::string> tasks;
    bool all = false;
    bool no_drain = false;
    bool detach = false;          ///< ask, and don't wait
    bool fail_on_kill = false;    ///< exit 1 if SIGKILL was needed
    std::string patience = "30";  ///< seconds without any agent until we give up
    api::StopRequest request;
};

enum class Verb { stop, restart };

/// Names the flags; --detach is `stop`'s alone: the agent has no restart that doesn't wait.
void declare(Arguments& arguments, Verb verb, StopFlags& flags);

/// Asks for the stops, side by side, and tells how they go until all have ended: on a terminal
/// live, elsewhere one line a phase as it ends, as JSON the records at the end. One task is one
/// connection and one request, unless it takes longer than 150 ms: then a second connection asks
/// how it goes. An agent that goes away meanwhile and comes back (an upgrade, a crash) is asked how
/// the stop has gone on; a newer task of the same name is left alone. Ctrl-C ends the telling, not
/// the stops. Returns the exit code; throws Usage, and NoAgent if there was none.
int follow(Session& session, Verb verb, StopFlags flags);

}  // namespace lastcall::cli
