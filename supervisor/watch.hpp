#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/connections.hpp"
#include "supervisor/load_balancer.hpp"

namespace lastcall {

/// One load balancer's part in a drain: what it said, and since when nobody is inside.
struct Watch {
    Membership membership;
    DrainMode mode = DrainMode::closed;
    bool introduced = false;  ///< what only it knows is in `membership`
    bool registered = true;   ///< we have registered it, or it doesn't want that
    bool acknowledged = false;
    bool may_retry = true;
    int attempts = 0;
    std::string error;  ///< why it isn't acknowledged, or why it doesn't report
    std::optional<TargetReport> report;
    std::optional<Clock::time_point> silent_since;  ///< it has stopped reporting
    /// If deregistration failed: new connections won't stop coming, these are waited for.
    std::optional<std::set<std::uint64_t>> open_at_failure;
    std::optional<Clock::time_point> zero_since, first_zero;
};

/// The open connections that `mode` waits for: all, or with `idle` those that haven't been at rest
/// for so long.
std::int64_t waited_for(const Connections& open, DrainMode mode, Clock::time_point now,
                        Clock::duration idle);

/// DESIGN section 1's table: whether this load balancer is satisfied at `now`, when the kernel
/// shows `seen`. Keeps the watch's settle times.
bool satisfied(Watch& watch, const std::optional<Connections>& seen, Clock::time_point now,
               Clock::duration idle);

/// When `satisfied` may change its mind by itself, if nothing happens before: its settle time is
/// over, or the last of those inside has been at rest long enough. `never`: not by itself.
Clock::time_point next_moment(const Watch& watch, const std::optional<Connections>& seen,
                              Clock::time_point now, Clock::duration idle);

/// Whether its word is enough now: it may have stopped reporting, or, after a reload, not see the
/// requests that its old process still has.
bool knows_all(const Watch& watch);

}  // namespace lastcall
