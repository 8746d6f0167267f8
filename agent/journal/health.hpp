#pragma once
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "supervisor/clock.hpp"

namespace lastcall {

/// How the journal is, for people to see. Belongs to the loop's thread.
class JournalHealth {
 public:
    struct Report {
        std::string trouble;  ///< "disk is full"; empty: the journal is well
        std::optional<Clock::utc_time> since;
        std::size_t waiting = 0;  ///< records that are not on the disk
    };

    explicit JournalHealth(Clock& clock) : clock_(clock) {}
    JournalHealth(const JournalHealth&) = delete;
    JournalHealth& operator=(const JournalHealth&) = delete;

    /// A disk that lets a record wait for over a second is trouble too.
    Report report() const;

    void handed_over() { handed_.push_back(clock_.now()); }
    void done() { handed_.pop_front(); }
    void ill(std::string trouble);
    void well() { ill_.reset(); }
    void kept_in_memory(std::size_t records) { in_memory_ = records; }

    /// Records once more all that goes on: a new file knows nothing of it.
    std::function<void()> restate;

 private:
    struct Illness {
        std::string trouble;
        Clock::utc_time since;
    };
    Clock& clock_;
    std::optional<Illness> ill_;
    std::size_t in_memory_ = 0;
    std::deque<Clock::time_point> handed_;  ///< over to the disk's thread, which isn't done with it
};

}  // namespace lastcall
