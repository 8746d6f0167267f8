#pragma once
#include <string>
#include <vector>

#include "supervisor/supervisor.hpp"

namespace lastcall {

/// "3 tasks: 2 running, 1 draining"; STOPPED ones don't count.
std::string summary(const std::vector<TaskBrief>& tasks);

/// In how long the last of the stops going on has ended, whatever happens (DESIGN rule 2); 0 if
/// none goes on. An upper bound, and a generous one.
Clock::duration longest_stop(const std::vector<TaskBrief>& tasks);

}  // namespace lastcall
