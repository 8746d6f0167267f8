#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "supervisor/phase.hpp"
#include "supervisor/reaper.hpp"

namespace lastcall {

/// Everything that a container ever forked, also after setsid and a double fork: the descendants of
/// its main process, and orphans that came to us and carry its mark.
///
/// As PID 1 or a subreaper we inherit every orphan, so a tree is empty exactly when none of our own
/// children belongs to it: each step towards that is a SIGCHLD, and nothing is polled.
class ProcessTree {
 public:
    /// `mark`: LASTCALL_TASK's value in the environment of its processes. `sole`: there is no other
    /// task, so every orphan is this one's, whatever its environment says.
    ProcessTree(pid_t main, std::string mark, bool sole, const Reaper& reaper);

    /// Those alive now, parents first; a zombie is not.
    std::vector<pid_t> members() const;
    static Survivor describe(pid_t pid);

 private:
    bool is_orphan_of_ours(pid_t pid) const;

    pid_t main_;
    std::string mark_;
    bool sole_;
    const Reaper& reaper_;
};

}  // namespace lastcall
