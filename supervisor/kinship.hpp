#pragma once
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lastcall {

/// Whose an orphan is. Many tasks of one agent leave theirs to the same parent, us, and the mark in
/// an orphan's environment is the only thing it carries; one that has cleared it is known if it was
/// ever seen below its task, or if only one task can have made it.
class Kinship {
 public:
    /// A task's main process, by its start (proc::Stat::start), and when nothing of it is left.
    void begins(const std::string& mark, std::uint64_t start) { tasks_[mark] = start; }
    void ends(const std::string& mark);

    /// `pid` was seen below that task.
    void remember(pid_t pid, std::uint64_t start, const std::string& mark);

    /// The mark of the task that a child of ours belongs to. `environment` as in /proc/PID/environ.
    /// Nullopt: any of `suspects` may have made it.
    std::optional<std::string> task_of(pid_t pid, std::uint64_t start,
                                       const std::string& environment) const;
    /// The tasks that were there before it was.
    std::vector<std::string> suspects(std::uint64_t start) const;

 private:
    struct Sighting {
        std::uint64_t start = 0;
        std::string mark;
    };
    std::map<std::string, std::uint64_t> tasks_;
    std::map<pid_t, Sighting> seen_;
};

}  // namespace lastcall
