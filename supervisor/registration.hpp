#pragma once
#include <string>

#include "supervisor/await.hpp"
#include "supervisor/connections.hpp"
#include "supervisor/log.hpp"
#include "supervisor/watch.hpp"

namespace lastcall {

/// What a task's registration works with.
struct Registration {
    Clock& clock;
    Log& log;
    Evidence& evidence;
    std::string task;
    bool registered_before = false;  ///< by an agent before us
};

/// No traffic before somebody listens: asks the load balancer which port it sends to, waits until
/// that is listened on, and only then registers. Tries until it succeeds, or can't ever; the watch
/// says which.
awaitable<void> register_when_listening(Registration to, Watch& watch);

}  // namespace lastcall
