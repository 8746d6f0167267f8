#pragma once
#include <optional>
#include <string>

#include "supervisor/await.hpp"
#include "supervisor/stop_request.hpp"

namespace lastcall {

/// A deadline that remembers why it is where it is.
class Limit {
 public:
    Limit(asio::any_io_executor executor, Clock& clock) : deadline_(std::move(executor), clock) {}
    /// No effect if `at` isn't earlier. `by`: the person who wanted it, if one did.
    void shorten(Clock::time_point at, std::string_view why,
                 const std::optional<Requester>& by = {}) {
        if (!deadline_.shorten(at)) return;
        why_ = why;
        by_ = by;
    }
    Clock::time_point at() const { return deadline_.at(); }
    bool passed() const { return deadline_.passed(); }
    awaitable<void> reached() { return deadline_.reached(); }
    const std::string& why() const { return why_; }
    const std::optional<Requester>& by() const { return by_; }
    PlannedLimit plan() const { return {at(), why_, by_}; }

 private:
    Deadline deadline_;
    std::string why_;
    std::optional<Requester> by_;
};

/// All the times of one stop. The first request sets them, later ones only bring them closer.
///
///   requested ── DEREGISTER, DRAIN ──▶ leave ── PRE_STOP ──▶ signal ── SIGTERM ──▶ kill
///
/// `leave` ends DEREGISTER and DRAIN; `signal` ends those and PRE_STOP; `kill` ends the wait for
/// every container, whatever its own stop timeout. With an outer deadline D (DESIGN rule 6) `kill`
/// is at D − 1 s, and `signal` at that less the stop timeout, or half of it if none is configured.
class StopLimits {
 public:
    StopLimits(asio::any_io_executor executor, Clock& clock, const StopSettings& settings,
               std::optional<Clock::duration> longest_container_timeout, const StopRequest& first);
    /// Those of a stop that another agent has begun.
    StopLimits(asio::any_io_executor executor, Clock& clock, const StopSettings& settings,
               const StopPlan& plan);

    /// What another agent would need to know; but for the stop signal.
    StopPlan plan() const;
    /// Brings limits closer as a later request wishes. True if it changed anything.
    bool join(const StopRequest& request, bool signalled);

    /// From the stop signal to SIGKILL, for a container with this timeout of its own.
    Clock::duration stop_timeout(const std::optional<Clock::duration>& container) const;

    Limit leave, signal, kill;
    Clock::duration deregistration_delay;   ///< how long DRAIN may last
    bool drains = true;                     ///< false: somebody said `--no-drain` before it began …
    std::optional<Requester> undrained_by;  ///< … this one
    std::optional<Requester> forced_by;     ///< who asked for SIGKILL at once

 private:
    void force(const Requester& by);

    Clock& clock_;
    std::optional<Clock::duration> configured_, wanted_, shortened_;
    bool has_deadline_ = false;
};

}  // namespace lastcall
