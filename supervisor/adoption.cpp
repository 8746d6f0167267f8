#include <algorithm>

#include "supervisor/life.hpp"

// How a task goes on with another agent than the one that launched it.
namespace lastcall {
namespace {

/// Those of a task that an earlier agent started with URLs that it understood.
std::vector<Membership> memberships_left(Surroundings& around, const TaskDefinition& definition) {
    try {
        if (around.memberships_left) return around.memberships_left(definition);
        return around.memberships(definition);
    } catch (...) {
        around.log.say(Level::error, "Task is supervised without its load balancers",
                       {{"task", definition.name}, {"error", failure_text()}});
    }
    return {};
}

/// The times of another boot mean nothing: what was left to do begins now.
StopRecord rebased(StopRecord stop, Clock::time_point now) {
    stop.requested = now;
    for (auto& phase : stop.phases) phase.started = now;
    for (auto* limit : {&stop.plan.leave, &stop.plan.signal, &stop.plan.kill}) {
        if (limit->at != never) limit->at = now;
    }
    return stop;
}

/// Whether a stop has begun to tell that load balancer.
bool was_told(const StopRecord& stop, const std::string& url) {
    return std::any_of(stop.phases.begin(), stop.phases.end(), [&url](const auto& phase) {
        const auto* const told = phase.detail.find("loadBalancer");
        return told && std::get<std::string>(*told) == url;
    });
}

}  // namespace

Life::Life(Surroundings& around, Remnant remnant)
    : Life(around, remnant.task, memberships_left(around, remnant.task.definition)) {
    if (remnant.stop) record_ = *remnant.stop;
    if (state_.last_status == TaskStatus::stopped) {
        ended_.set();
        return;
    }
    const auto& definitions = state_.definition.containers;
    bool any_left = false;
    for (std::size_t index = 0; index < definitions.size(); ++index) {
        auto& was = state_.containers[index];
        if (!remnant.same_boot && !was.exit) was.exit = ExitStatus{.known = Known::unseen};
        processes_.push_back(around_.launcher.adopt(definitions[index], state_.id, was));
        any_left = any_left || processes_.back()->any_left();
    }
    if (state_.last_status == TaskStatus::pending && !any_left) {
        processes_.clear();
        failed_to_start("The agent ended before it was started");
        return;
    }
    began();
    if (!remnant.stop) {
        for (auto& watch : watches_) {
            if (!watch.registered || !watch.membership.registers) continue;
            // Caught here: then it is registered anew, which tells the trouble.
            try {
                const auto& membership = watch.membership;
                membership.load_balancer->take_over(membership.target, TargetState::healthy);
            } catch (...) {
                watch.registered = false;
            }
        }
    } else if (!remnant.stop->outcome) {
        take_over(remnant.same_boot ? std::move(*remnant.stop)
                                    : rebased(std::move(*remnant.stop), around_.clock.now()));
    } else {  // but for the task's own record, or for what SIGKILL couldn't end
        const bool gone = record_.outcome != StopOutcome::unkillable;
        state_.last_status = gone ? TaskStatus::stopped : TaskStatus::stopping;
        state_.stopped_at = record_.stopped_at;
        state_.desired_status = TaskStatus::stopped;
        state_.stop_code = record_.stop_code;
        state_.stopped_reason = record_.stopped_reason;
        note_ends();
        ended_.set();
    }
}

/// A stop that outlived its agent.
void Life::take_over(StopRecord stop) {
    state_.stop_code = stop.stop_code;
    state_.stopped_reason = stop.stopped_reason;
    state_.desired_status = TaskStatus::stopped;
    for (auto& watch : watches_) {
        if (was_told(stop, watch.membership.url)) watch.registered = true;
    }
    const bool by_itself = stop.stop_code == StopCode::essential_container_exited;
    stop_ = std::make_unique<Stop>(scene(by_itself, stop.id), std::move(stop));
    over_.set();
}

}  // namespace lastcall
