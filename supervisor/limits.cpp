#include "supervisor/limits.hpp"

#include <algorithm>
#include <tuple>

namespace lastcall {
namespace {

constexpr Clock::duration default_stop_timeout = 30s;  // ECS_CONTAINER_STOP_TIMEOUT's
constexpr Clock::duration reserve = 1s;                // for SIGKILL, the record and our own exit

}  // namespace

StopLimits::StopLimits(asio::any_io_executor executor, Clock& clock, const StopSettings& settings,
                       std::optional<Clock::duration> longest_container_timeout,
                       const StopRequest& first)
    : leave(executor, clock),
      signal(executor, clock),
      kill(executor, clock),
      deregistration_delay(first.drain_timeout.value_or(settings.deregistration_delay)),
      drains(first.drain),
      clock_(clock),
      configured_(settings.stop_timeout),
      wanted_(first.stop_timeout) {
    if (!drains) undrained_by = first.by;
    const auto deadline = first.deadline ? first.deadline : settings.stop_deadline;
    if (deadline) {
        has_deadline_ = true;
        const auto now = clock.now();
        const auto budget = std::max(*deadline - reserve, 0ns);
        auto longest = wanted_ ? wanted_ : configured_;
        if (!wanted_ && longest_container_timeout) {
            longest = std::max(longest.value_or(0s), *longest_container_timeout);
        }
        const auto left = std::max(budget - longest.value_or(budget / 2), Clock::duration::zero());
        leave.shorten(now + left, "stop deadline");
        signal.shorten(now + left, "stop deadline");
        kill.shorten(now + budget, "stop deadline");
    }
    if (first.force) force(first.by);
}

StopLimits::StopLimits(asio::any_io_executor executor, Clock& clock, const StopSettings& settings,
                       const StopPlan& plan)
    : leave(executor, clock),
      signal(executor, clock),
      kill(executor, clock),
      deregistration_delay(plan.deregistration_delay),
      drains(plan.drains),
      undrained_by(plan.undrained_by),
      forced_by(plan.forced_by),
      clock_(clock),
      configured_(settings.stop_timeout),
      wanted_(plan.wanted_timeout),
      shortened_(plan.shortened_timeout),
      has_deadline_(plan.has_deadline) {
    leave.shorten(plan.leave.at, plan.leave.why, plan.leave.by);
    signal.shorten(plan.signal.at, plan.signal.why, plan.signal.by);
    kill.shorten(plan.kill.at, plan.kill.why, plan.kill.by);
}

StopPlan StopLimits::plan() const {
    return {.leave = leave.plan(),
            .signal = signal.plan(),
            .kill = kill.plan(),
            .deregistration_delay = deregistration_delay,
            .wanted_timeout = wanted_,
            .shortened_timeout = shortened_,
            .has_deadline = has_deadline_,
            .drains = drains,
            .undrained_by = undrained_by,
            .forced_by = forced_by};
}

bool StopLimits::join(const StopRequest& request, bool signalled) {
    const auto now = clock_.now();
    const auto planned = std::tuple(leave.at(), signal.at(), kill.at(), shortened_, forced_by);
    if (!request.drain) leave.shorten(now, "no drain wanted", request.by);
    if (request.drain_timeout) {
        leave.shorten(after(now, *request.drain_timeout), "drain timeout", request.by);
    }
    if (request.deadline) {
        const auto budget = std::max(*request.deadline - reserve, Clock::duration::zero());
        kill.shorten(now + budget, "stop deadline", request.by);
        const auto timeout = stop_timeout({});
        const auto left = std::max(timeout > budget ? budget / 2 : budget - timeout, 0ns);
        leave.shorten(now + left, "stop deadline", request.by);
        signal.shorten(now + left, "stop deadline", request.by);
    }
    if (request.stop_timeout && signalled) {
        kill.shorten(after(now, *request.stop_timeout), "stop timeout", request.by);
    } else if (request.stop_timeout) {
        shortened_ = std::min(shortened_.value_or(*request.stop_timeout), *request.stop_timeout);
    }
    if (request.force) force(request.by);
    return planned != std::tuple(leave.at(), signal.at(), kill.at(), shortened_, forced_by);
}

Clock::duration StopLimits::stop_timeout(const std::optional<Clock::duration>& container) const {
    const auto usual = has_deadline_ ? Clock::duration::max() : default_stop_timeout;
    const auto planned = wanted_ ? *wanted_ : container ? *container : configured_.value_or(usual);
    return shortened_ ? std::min(*shortened_, planned) : planned;
}

void StopLimits::force(const Requester& by) {
    if (forced_by) return;
    forced_by = by;
    const auto now = clock_.now();
    leave.shorten(now, "force", by);
    signal.shorten(now, "force", by);
    kill.shorten(now, "force", by);
}

}  // namespace lastcall
