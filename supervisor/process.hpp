#pragma once
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/phase.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// One container's processes: the main one, and all that it has forked. An interface, because
/// tests need processes that live in virtual time.
class Process {
 public:
    virtual ~Process() = default;
    /// The main process's id; a stranger's may have it once the process was reaped.
    virtual pid_t id() const = 0;
    /// When it was started, in ticks since boot (proc(5), /proc/PID/stat): with the id it is unique
    /// until the next boot. 0: not known.
    virtual std::uint64_t start_time() const { return 0; }
    /// Who is gone gets nothing; SIGKILL takes the tree whatever the scope.
    virtual void signal(int number, SignalScope scope) = 0;
    /// The main process's end; gives the same answer however often it is asked.
    virtual awaitable<ExitStatus> exit() = 0;
    /// Returns when the main process is reaped and nothing of the tree is left.
    virtual awaitable<void> empty() = 0;
    /// How many are left now, the main process included.
    virtual std::size_t left() { return survivors().size(); }
    /// Whether anybody is; costs nothing while the main process runs.
    virtual bool any_left() { return left() > 0; }
    /// Who they are; to look that closely may take a while.
    virtual std::vector<Survivor> survivors() = 0;
    /// Who may be left of it, or of another task: nothing tells whose they are.
    virtual std::vector<Survivor> strays() { return {}; }
    /// The cgroup that was made for it; empty: none.
    virtual std::string cgroup() const { return {}; }
    /// Removes that cgroup. Throws std::system_error.
    virtual void clean_up() {}
};

/// Starts containers. An interface for the same reason.
class Launcher {
 public:
    virtual ~Launcher() = default;
    /// Returns when the command was executed. Throws std::system_error with errno's code ("cannot
    /// start 'CMD': No such file or directory").
    virtual std::unique_ptr<Process> launch(const ContainerDefinition& container,
                                            const std::string& task_id) = 0;
    /// The same container, launched by an agent before us, as the journal knows it. One that has
    /// ended since is a Process too: it has exited, nobody knows how, and its tree may go on.
    virtual std::unique_ptr<Process> adopt(const ContainerDefinition& container,
                                           const std::string& task_id,
                                           const ContainerState& was) = 0;
};

}  // namespace lastcall
