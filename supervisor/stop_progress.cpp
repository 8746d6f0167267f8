#include <algorithm>

#include "supervisor/stop.hpp"

namespace lastcall {

StopProgress Stop::progress() const {
    StopProgress progress{.record = recorder_.record()};
    const auto now = scene_.clock.now();
    progress.record.duration = recorder_.since_request();
    if (progress.record.phases.empty()) return progress;
    PhaseRecord& current = progress.record.phases.back();
    if (current.outcome) return progress;
    current.duration = now - current.started;
    Clock::time_point at = never;
    switch (current.phase) {
        case Phase::deregister:
            progress.next = Phase::drain;
            at = std::min(limits_.leave.at(),
                          after(current.started, scene_.task.definition.stop.deregister_timeout));
            break;
        case Phase::drain:
            progress.next = Phase::sigterm;
            progress.connections = leaving_.connections();
            progress.open = leaving_.open();
            progress.waiting_for = leaving_.waiting_for();
            at = limits_.leave.at();
            break;
        case Phase::pre_stop:
            progress.next = Phase::sigterm;
            at = std::min(limits_.signal.at(),
                          after(current.started, scene_.task.definition.stop.pre_stop_timeout));
            break;
        case Phase::sigterm: {
            progress.next = Phase::sigkill;
            const auto* timeout = current.detail.find("stopTimeoutMs");
            const auto planned =
                std::chrono::milliseconds(timeout ? std::get<std::int64_t>(*timeout) : 0);
            at = std::min(limits_.kill.at(), after(current.started, planned));
            break;
        }
        case Phase::sigkill:
        case Phase::cleanup:
            break;
    }
    if (at != never) progress.next_in = std::max(at - now, Clock::duration::zero());
    return progress;
}

}  // namespace lastcall
