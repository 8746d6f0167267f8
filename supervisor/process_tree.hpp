#pragma once
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/cgroup.hpp"
#include "supervisor/phase.hpp"
#include "supervisor/reaper.hpp"

namespace lastcall {

/// Where the orphans of a task go, and how they are told from others'.
enum class Orphans {
    ours_alone,  ///< to us, and there is no other task: every one is this task's
    marked,      ///< to us, and so do other tasks': by LASTCALL_TASK in their environment
    elsewhere,   ///< not to us (no subreaper): found by their mark, wherever they are
};

/// Who carries LASTCALL_TASK=`mark` in the environment, wherever they are.
std::vector<pid_t> marked(const std::string& mark);

/// Everything that a container ever forked, also after setsid and a double fork: who is in its
/// cgroup, if it has one; the descendants of its main process; and orphans.
///
/// As PID 1 or a subreaper we inherit every orphan, so a tree is empty exactly when none of our own
/// children belongs to it: each step towards that is a SIGCHLD, and nothing is polled.
class ProcessTree {
 public:
    /// `mark`: LASTCALL_TASK's value in the environment of its processes.
    ProcessTree(pid_t main, std::string mark, Orphans orphans, std::unique_ptr<Cgroup> cgroup,
                Reaper& reaper);
    ~ProcessTree();
    ProcessTree(const ProcessTree&) = delete;
    ProcessTree& operator=(const ProcessTree&) = delete;

    bool is_empty();
    std::size_t count() { return alive().size(); }
    /// Those alive now; a zombie is not. Without /proc they are one, without a name.
    std::vector<Survivor> survivors();
    /// To each of them; SIGKILL until nobody new is found.
    void signal(int number);
    /// Orphans that may be this task's or another's: their environment is cleared or unreadable,
    /// and nobody saw them before. Once it is empty: those at that moment who are still alive.
    std::vector<Survivor> strays();
    /// Returns when somebody of it may have gone.
    awaitable<void> changed();
    Cgroup* cgroup() const { return cgroup_.get(); }

 private:
    std::vector<pid_t> members();
    std::vector<pid_t> members_for_sure();
    std::vector<pid_t> roots();
    std::vector<pid_t> alive();
    bool is_our_orphan(pid_t child);
    bool is_visible();
    bool remembers() const;
    void end();
    void signal_unseen(int number);

    pid_t main_;
    std::string mark_;
    Orphans orphans_;
    std::unique_ptr<Cgroup> cgroup_;
    Reaper& reaper_;
    bool somebody_died_ = false;  ///< while we looked who its members are
    bool ended_ = false;          ///< nothing is left of it; who may be is in `strays_`
    Kinship::Identities strays_;
    std::optional<bool> visible_;  ///< whether there is a /proc; not looked at yet: neither
};

}  // namespace lastcall
