#pragma once
#include <memory>
#include <string>

#include "supervisor/launch.hpp"
#include "supervisor/process.hpp"
#include "supervisor/reaper.hpp"

namespace lastcall {

/// The real Process: a child of ours, and its tree. `sole`: see ProcessTree. The reaper must be
/// told of every SIGCHLD, and outlive it.
std::unique_ptr<Process> supervise(asio::any_io_executor executor, Reaper& reaper,
                                   Launched launched, std::string task_id, bool sole);

/// The real Launcher: containers in the background, their output in files.
std::unique_ptr<Launcher> child_launcher(asio::any_io_executor executor, Reaper& reaper,
                                         Inheritance inherited, bool sole);

}  // namespace lastcall
