#pragma once
#include <string>

#include "supervisor/await.hpp"
#include "supervisor/log.hpp"
#include "supervisor/watch.hpp"

namespace lastcall {

/// Fills in what only the load balancer knows, unless that is done. Throws LoadBalancerError.
awaitable<void> introduce(Watch& watch);

/// The same before a task's start, which waits 5 s for it at most. False: it can't be asked now,
/// which is said. Throws LoadBalancerError if it never would do what will be asked.
awaitable<bool> introduce_in_time(Clock& clock, Log& log, std::string task, Watch& watch);

}  // namespace lastcall
