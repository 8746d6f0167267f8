#pragma once
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/phase.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// A task that an earlier agent left in the journal, and its last stop, if there was one.
struct Remnant {
    TaskState task;
    std::optional<StopRecord> stop;
    bool same_boot = true;  ///< false: nothing of it can run, and its moments mean nothing now
};

/// What survives the agent. An interface, because the order "record, then act" belongs to the
/// stop, and the disk does not.
///
/// `record` returns when it is kept; whatever it throws, the stop acts all the same. Recording the
/// same thing again replaces it.
class Journal {
 public:
    virtual ~Journal() = default;
    /// `task` outlives the call.
    virtual awaitable<void> record(const TaskState& task) = 0;
    /// The stop as it is now. `phase` is the index of the phase that has just begun or ended; none
    /// when the stop itself was requested, shortened or ended.
    virtual awaitable<void> record(StopRecord stop, std::optional<std::size_t> phase) = 0;
    /// The same where nobody waits for it: it is kept in its turn, before what is recorded later.
    /// If that fails, the next `record` throws why.
    virtual void note(StopRecord stop, std::optional<std::size_t> phase) = 0;
    /// The task as it is now, where nobody waits for it.
    virtual void note(const TaskState& task) = 0;
    /// All tasks that aren't STOPPED, or have become it since then; the earliest first.
    virtual awaitable<std::vector<Remnant>> remnants(Clock::utc_time since) = 0;
    /// Stops of a task, or of all, newest first, at most `limit`.
    virtual awaitable<std::vector<StopRecord>> stops(std::optional<std::string> task,
                                                     std::size_t limit) = 0;
    /// Waits, and holds up everything, until all that was handed over is written; false if that
    /// takes longer than `at_most`, or the last of it could not be. For who is about to leave.
    virtual bool flush(std::chrono::milliseconds at_most) { return at_most.count() >= 0; }
    /// True: `record` never waits for anything, so nobody need time it.
    virtual bool is_instant() const { return false; }
};

}  // namespace lastcall
