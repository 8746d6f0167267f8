#pragma once
#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "supervisor/await.hpp"
#include "supervisor/kinship.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// What a sweep over our children has found.
struct Reaped {
    std::optional<ExitStatus> exit;  ///< of the one asked for, if it was among them
    int count = 0;
    bool childless = false;  ///< no child is left, living or dead
};
/// Collects all that have ended, for who waits for one of them alone. Never waits.
Reaped reap_all(pid_t awaited);

/// Collects every child that ends: ours for their status, and zombies that are nobody's (orphans
/// come to us because we are PID 1 or a subreaper, prctl(2)).
///
/// One place for both, because wait(-1) elsewhere would steal what somebody waits for.
class Reaper {
 public:
    explicit Reaper(asio::any_io_executor executor) : reaped_(std::move(executor)) {}
    Reaper(const Reaper&) = delete;
    Reaper& operator=(const Reaper&) = delete;

    /// `ended` is called once, in the same step as the reap: from then on the pid is a stranger's.
    void expect(pid_t pid, std::function<void(ExitStatus)> ended) { ours_[pid] = std::move(ended); }
    void forget(pid_t pid) { ours_.erase(pid); }
    bool is_ours(pid_t pid) const { return ours_.contains(pid); }

    /// A process group that is no task's as long as anybody is in it: a helper program's, and what
    /// it leaves behind.
    void set_apart(pid_t group) { apart_.insert(group); }
    bool is_apart(pid_t pid) const;
    bool has_apart(pid_t group) const { return apart_.contains(group); }

    /// Collects all that have ended; call it on every SIGCHLD (they coalesce). Never waits. False
    /// when no child is left, living or dead.
    bool reap();
    /// Returns after the next time anybody was reaped.
    awaitable<void> next() { return reaped_.next(); }

    Kinship kinship;  ///< whose the orphans are

 private:
    std::map<pid_t, std::function<void(ExitStatus)>> ours_;
    std::set<pid_t> apart_;
    Pulse reaped_;
};

}  // namespace lastcall
