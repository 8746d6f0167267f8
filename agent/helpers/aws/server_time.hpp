#pragma once
#include <optional>
#include <string>

#include "agent/helpers/aws/failure.hpp"
#include "supervisor/clock.hpp"

namespace lastcall::aws {

/// The date as AWS has it: this machine's clock, until a server's date shows that it is wrong.
class ServerTime {
 public:
    /// `say` hears once that the clock is wrong.
    ServerTime(const Clock& clock, Note say) : clock_(clock), say_(std::move(say)) {}
    Clock::utc_time now() const { return clock_.utc() + ahead_; }
    /// Takes over a response's Date header if it is more than a minute away from `now`; false, and
    /// no effect, if it isn't, or is no date.
    bool correct(const std::string& date);

 private:
    const Clock& clock_;
    Note say_;
    std::chrono::seconds ahead_{};
    bool said_ = false;
};

}  // namespace lastcall::aws
