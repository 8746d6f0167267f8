#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lastcall {

/// A child of ours that we didn't start. What takes long to read is read only if it decides.
struct Orphan {
    pid_t pid = 0;
    std::uint64_t identity = 0;                ///< proc::identity_of
    std::function<std::uint64_t()> start;      ///< proc::start_of
    std::function<std::string()> environment;  ///< proc::environment_of
};

/// Whose an orphan is. Many tasks of one agent leave theirs to the same parent, us, and the mark in
/// an orphan's environment is the only thing it carries; one that has cleared it is known if it was
/// ever seen below its task, or if only one task can have made it.
///
/// What nobody can tell stays so: an orphan that two tasks may have made doesn't become the second
/// one's because the first one ends.
class Kinship {
 public:
    using Identities = std::map<pid_t, std::uint64_t>;

    /// A task's main process, by its start (proc::start_of), and when nothing of it is left.
    void begins(const std::string& mark, std::uint64_t start) { tasks_[mark] = start; }
    void ends(const std::string& mark);

    /// `pid` was seen below that task.
    void remember(pid_t pid, std::uint64_t identity, const std::string& mark);
    /// Whether such a number was seen below that task. It may be another process's by now, which
    /// `task_of` finds out.
    bool knows(pid_t pid, const std::string& mark) const;
    /// All orphans there are that nobody can tell, instead of those known before.
    void doubt(Identities orphans) { doubtful_ = std::move(orphans); }
    bool is_doubtful(const Orphan& orphan) const;

    /// The mark of the task that an orphan belongs to. Nullopt: any of `suspects` may have made it.
    /// A hook's mark begins with its task's; a mark of no task here (of an agent within a task)
    /// tells nothing.
    std::optional<std::string> task_of(const Orphan& orphan) const;
    /// The tasks that were there before it was.
    std::vector<std::string> suspects(std::uint64_t start) const;

 private:
    struct Sighting {
        std::uint64_t identity = 0;
        std::string mark;
    };
    std::map<std::string, std::uint64_t> tasks_;
    std::map<pid_t, Sighting> seen_;
    Identities doubtful_;
};

}  // namespace lastcall
