#pragma once
#include <memory>
#include <string>

#include "supervisor/launch.hpp"
#include "supervisor/process.hpp"
#include "supervisor/process_tree.hpp"
#include "supervisor/reaper.hpp"

namespace lastcall {

/// The real Process: a child of ours (or of an agent before us), and its tree. The reaper must be
/// told of every SIGCHLD, and outlive it.
std::unique_ptr<Process> supervise(asio::any_io_executor executor, Reaper& reaper,
                                   Launched launched, std::string task_id, Orphans orphans,
                                   std::unique_ptr<Cgroup> cgroup = nullptr, bool is_child = true);

/// The real Launcher: containers in the background, their output in files; each in a cgroup of its
/// own where one can be made, unless every orphan is the task's anyway.
std::unique_ptr<Launcher> child_launcher(asio::any_io_executor executor, Reaper& reaper,
                                         Inheritance inherited, Orphans orphans);

}  // namespace lastcall
