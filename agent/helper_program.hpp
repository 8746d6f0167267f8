#pragma once
#include "agent/lb/program.hpp"
#include "supervisor/launch.hpp"
#include "supervisor/reaper.hpp"

namespace lastcall {

/// The real helper programs: children of ours, in `/`, with our environment and three pipes; each
/// leads a process group that is no task's. The reaper outlives them.
helper::StartProgram helper_starter(asio::any_io_executor executor, Reaper& reaper,
                                    Inheritance inherited);

}  // namespace lastcall
