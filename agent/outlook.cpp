#include "agent/outlook.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lastcall {
namespace {

/// What DESIGN section 1 gives the last phases: 10 s for SIGKILL, a short time for the rest.
constexpr Clock::duration for_sigkill = 10s, for_cleanup = 5s, usual_stop_timeout = 30s;

Clock::duration stop_timeout(const TaskDefinition& task) {
    auto longest = task.stop.stop_timeout.value_or(usual_stop_timeout);
    for (const auto& container : task.containers) {
        longest = std::max(longest, container.stop_timeout.value_or(longest));
    }
    return longest;
}

Clock::duration longest_stop(const TaskBrief& task) {
    if (!task.stopping) return 0s;
    const auto& [next, next_in] = *task.stopping;
    const auto& settings = task.definition->stop;
    const auto last = for_sigkill + for_cleanup;
    const auto signals = stop_timeout(*task.definition) + last;
    const auto leaving = signals + (settings.pre_stop.empty() ? 0s : settings.pre_stop_timeout);
    if (!next || !next_in) {  // it is about to begin, or to end
        const bool begins = task.status == TaskStatus::running;
        const auto delay = settings.deregister_timeout + settings.deregistration_delay;
        return begins ? delay + leaving : signals;
    }
    switch (*next) {
        case Phase::deregister:
        case Phase::drain:
            return *next_in + settings.deregistration_delay + leaving;
        case Phase::pre_stop:
            return *next_in + leaving;
        case Phase::sigterm:
            return *next_in + leaving;
        default:
            return *next_in + last;
    }
}

}  // namespace

std::string summary(const std::vector<TaskBrief>& tasks) {
    std::size_t all = 0, draining = 0, stopping = 0, running = 0;
    for (const auto& each : tasks) {
        if (each.status == TaskStatus::stopped) continue;
        ++all;
        if (each.status == TaskStatus::deactivating) {
            ++draining;
        } else if (each.status > TaskStatus::deactivating) {
            ++stopping;
        } else {
            ++running;
        }
    }
    if (all == 0) return "No task";
    std::vector<std::string> parts;
    const auto add = [&parts](std::size_t count, const char* what) {
        if (count > 0) parts.push_back(fmt::format("{} {}", count, what));
    };
    add(running, "running");
    add(draining, "draining");
    add(stopping, "stopping");
    return fmt::format("{} task{}: {}", all, all == 1 ? "" : "s", fmt::join(parts, ", "));
}

Clock::duration longest_stop(const std::vector<TaskBrief>& tasks) {
    Clock::duration longest{};
    for (const auto& each : tasks) longest = std::max(longest, longest_stop(each));
    return longest;
}

}  // namespace lastcall
