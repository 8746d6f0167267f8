#pragma once
#include <cstddef>
#include <string>

#include "supervisor/await.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/limits.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// Writes the record of one stop while it happens: a phase is in the journal before its action.
/// A journal that is slow or broken costs a stop 100 ms in all, and nothing else.
///
/// A stop that outlived its agent goes on in its record: a phase that was under way is the same
/// one, with the time that it has left, and one that had ended is not told again.
class Recorder {
 public:
    /// `record` may have phases: those of an earlier agent.
    Recorder(Clock& clock, Journal& journal, Log& log, StopRecord record);

    const StopRecord& record() const { return record_; }
    StopRecord& record() { return record_; }

    /// Returns the phase's index when it is recorded; the action may come now. If an earlier agent
    /// has begun it, it goes on.
    awaitable<std::size_t> begin(Phase phase, std::string container, Detail detail);
    /// Whether an earlier agent began it and didn't see its end.
    bool under_way(Phase phase, std::string_view container = "",
                   std::string_view load_balancer = "") const;
    /// The phase whose end (or whose being skipped) an earlier agent has recorded.
    const PhaseRecord* ended(Phase phase, std::string_view container = "",
                             std::string_view load_balancer = "") const;
    Clock::time_point started(std::size_t index) const { return record_.phases[index].started; }
    void note(std::size_t index, std::string_view key, Detail::Value value);
    /// The same, for what must outlive the agent at once. Nobody waits for that.
    void note_for_good(std::size_t index, std::string_view key, Detail::Value value);
    /// Notes which limit ended a phase, and who wanted it so; returns the outcome that this means.
    Outcome note_limit(std::size_t index, const Limit& limit);
    /// Nobody waits for that to be kept: the next phase's beginning is kept after it.
    void end(std::size_t index, Outcome outcome);
    /// A phase that somebody didn't want: `why` says so. No effect if it was skipped before.
    void skip(Phase phase, std::string container, std::string why, std::optional<Requester> by);
    /// The stop as a whole changed (it has ended).
    awaitable<void> write(std::optional<std::size_t> phase);
    /// The same, where nobody waits for it (a request has joined it). None: the stop as a whole.
    void keep(std::optional<std::size_t> phase);
    Clock::duration since_request() const { return clock_.now() - record_.requested; }

 private:
    std::optional<std::size_t> earlier(Phase phase, std::string_view container,
                                       std::string_view load_balancer, bool over) const;

    Clock& clock_;
    Journal& journal_;
    Log& log_;
    StopRecord record_;
    std::size_t inherited_;  ///< so many phases are an earlier agent's
    Clock::duration patience_ = 100ms;
};

}  // namespace lastcall
