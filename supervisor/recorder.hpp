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
class Recorder {
 public:
    Recorder(Clock& clock, Journal& journal, Log& log, StopRecord record);

    const StopRecord& record() const { return record_; }
    StopRecord& record() { return record_; }

    /// Returns the phase's index when it is recorded; the action may come now.
    awaitable<std::size_t> begin(Phase phase, std::string container, Detail detail);
    void note(std::size_t index, std::string_view key, Detail::Value value);
    /// Notes which limit ended a phase, and who wanted it so; returns the outcome that this means.
    Outcome note_limit(std::size_t index, const Limit& limit);
    awaitable<void> end(std::size_t index, Outcome outcome);
    /// A phase that somebody didn't want: `why` says so.
    awaitable<void> skip(Phase phase, std::string container, std::string why,
                         std::optional<Requester> by);
    /// The stop as a whole changed (a request joined it, it has ended).
    awaitable<void> write(std::optional<std::size_t> phase);
    Clock::duration since_request() const { return clock_.now() - record_.requested; }

 private:
    Clock& clock_;
    Journal& journal_;
    Log& log_;
    StopRecord record_;
    Clock::duration patience_ = 100ms;
};

}  // namespace lastcall
