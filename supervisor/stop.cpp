#include "supervisor/stop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "supervisor/pre_stop.hpp"

namespace lastcall {
namespace {

std::optional<Clock::duration> longest_timeout(const std::vector<StoppingContainer>& containers) {
    std::optional<Clock::duration> longest;
    for (const auto& container : containers) {
        if (container.stop_timeout)
            longest = std::max(longest.value_or(0s), *container.stop_timeout);
    }
    return longest;
}

StopRecord opening(const StopScene& scene, const StopRequest& request) {
    return {.id = scene.id,
            .task = scene.task.definition.name,
            .task_id = scene.task.id,
            .stop_code = request.code,
            .stopped_reason = request.reason,
            .requested_by = request.by,
            .requested = scene.clock.now(),
            .requested_at = scene.clock.utc(),
            .plan = {.stop_signal = request.signal}};
}

/// As configured, or else the longest that a load balancer wants; ours for one that wants none.
Clock::duration deregistration_delay(const StopScene& scene) {
    const auto& settings = scene.task.definition.stop;
    if (settings.delay_is_chosen || scene.watches.empty()) return settings.deregistration_delay;
    Clock::duration longest{};
    for (const auto& watch : scene.watches) {
        longest = std::max(longest, watch.membership.delay.value_or(settings.deregistration_delay));
    }
    return longest;
}

/// The first request's limits, or those that the record holds.
StopLimits limits_of(const StopScene& scene, const StopRecord& record, const StopRequest* first) {
    StopSettings settings = scene.task.definition.stop;
    settings.deregistration_delay = deregistration_delay(scene);
    if (!first) return {scene.executor, scene.clock, settings, record.plan};
    return {scene.executor, scene.clock, settings, longest_timeout(scene.containers), *first};
}

}  // namespace

// ------------------------------------------------------------------------------- the story

awaitable<StopRecord> Stop::run() {
    watch_exits();
    if (!scene_.watches.empty()) {
        became(TaskStatus::deactivating);
        co_await whatever_happens(leave_load_balancers());
    }
    became(TaskStatus::stopping);
    co_await whatever_happens(pre_stop());
    co_await whatever_happens(end_containers());
    if (recorder_.record().survivors.empty()) {
        became(TaskStatus::deprovisioning);
        co_await whatever_happens(clean_up());
    }
    co_await leaving_.close();
    watching_.cancel();
    co_await watching_.close();
    auto record = finish();
    co_await recorder_.write(std::nullopt);
    if (record.survivors.empty()) became(TaskStatus::stopped);  // said when the record is complete
    co_return record;
}

awaitable<void> Stop::leave_load_balancers() {
    const bool told = !recorder_.record().phases.empty() && !recorder_.ended(Phase::deregister);
    if (limits_.forced_by && !told) {
        recorder_.skip(Phase::deregister, "", "force", limits_.forced_by);
    } else {
        co_await leaving_.deregister();
        const auto drain_signal = scene_.task.definition.stop.drain_signal;
        const bool goes_on = recorder_.under_way(Phase::drain) || recorder_.ended(Phase::drain);
        if (drain_signal && !goes_on) {
            for (auto& each : scene_.containers)
                Ending::signal(scene_.log, each.process, *drain_signal, SignalScope::main);
        }
        leaving_.keep_asking();
    }
    co_await leaving_.drain();
}

awaitable<void> Stop::pre_stop() {
    if (scene_.task.definition.stop.pre_stop.empty()) co_return;
    if (gone_.is_set() && !recorder_.under_way(Phase::pre_stop)) co_return;
    PreStop hook({scene_.clock, scene_.launcher, recorder_, limits_, scene_.task});
    co_await hook.run();
}

awaitable<void> Stop::end_containers() {
    std::vector<awaitable<void>> works;
    for (std::size_t index = 0; index < scene_.containers.size(); ++index) {
        works.push_back(end(index));
    }
    co_await all(std::move(works));
}

awaitable<void> Stop::end(std::size_t index) {
    for (const auto dependant : scene_.containers[index].after) {
        co_await endings_[dependant]->over.wait();
    }
    co_await whatever_happens(endings_[index]->ending.run());
    endings_[index]->over.set();
}

awaitable<void> Stop::clean_up() {
    if (!exited_by_itself_) co_await leaving_.deregister_late();
    for (const auto& container : scene_.containers) co_await clean_up(container);
}

/// Its cgroup is removed, and who may have been left behind is told.
awaitable<void> Stop::clean_up(const StoppingContainer& container) {
    auto& process = container.process;
    const auto strays = process.strays();
    const auto cgroup = process.cgroup();
    // An earlier agent may have removed it and died of it: its phase is still to be ended.
    const bool goes_on = recorder_.under_way(Phase::cleanup, container.name);
    if (cgroup.empty() && strays.empty() && !goes_on) co_return;
    Detail detail;
    if (!cgroup.empty()) detail.set("cgroup", cgroup);
    if (!strays.empty()) {
        detail.set("unattributed", static_cast<std::int64_t>(strays.size()));
        detail.set("unattributedProcesses", to_string(strays));
    }
    const auto phase = co_await recorder_.begin(Phase::cleanup, container.name, std::move(detail));
    Outcome outcome = Outcome::completed;
    // Caught here: a cgroup that stays is untidy, not a task that runs.
    try {
        process.clean_up();
    } catch (...) {
        recorder_.note(phase, "error", failure_text());
        outcome = Outcome::failed;
    }
    recorder_.end(phase, outcome);
}

// ------------------------------------------------------------------------- around the story

Stop::Stop(StopScene scene, const StopRequest& first)
    : Stop(scene, opening(scene, first), &first) {}

Stop::Stop(StopScene scene, StopRecord earlier)
    : Stop(std::move(scene), std::move(earlier), nullptr) {}

Stop::Stop(StopScene scene, StopRecord record, const StopRequest* first)
    : scene_(std::move(scene)),
      limits_(limits_of(scene_, record, first)),
      recorder_(scene_.clock, scene_.journal, scene_.log, std::move(record)),
      gone_(scene_.executor),
      leaving_({scene_.executor, scene_.clock, scene_.log, recorder_, limits_, scene_.evidence,
                gone_, scene_.task.definition.stop},
               scene_.watches),
      watching_(scene_.executor),
      exited_by_itself_(recorder_.record().stop_code == StopCode::essential_container_exited) {
    if (exited_by_itself_) gone_.set();
    const auto& settings = scene_.task.definition.stop;
    const auto signal =
        recorder_.record().plan.stop_signal.value_or(settings.stop_signal.value_or(SIGTERM));
    const Ending::Scene ending{scene_.clock, scene_.log, recorder_,
                               limits_,      signal,     settings.signal_scope};
    for (const auto& container : scene_.containers) {
        endings_.push_back(std::make_unique<One>(ending, container, scene_.executor));
    }
    if (!scene_.watches.empty()) {
        recorder_.record().deregistration_delay = limits_.deregistration_delay;
    }
    if (!first) scene_.task.stopping_at = recorder_.record().requested_at;
    keep_plan();
}

/// What another agent would need to go on at the times planned.
void Stop::keep_plan() {
    auto plan = limits_.plan();
    plan.stop_signal = recorder_.record().plan.stop_signal;
    recorder_.record().plan = std::move(plan);
}

/// The last line of defence: what escapes a step ends that step, never the stop.
awaitable<void> Stop::whatever_happens(awaitable<void> step) {
    try {
        co_await std::move(step);
    } catch (...) {
        say_failure("Step of a stop failed");
    }
}

void Stop::say_failure(std::string_view what) {
    scene_.log.say(Level::error, what,
                   {{"task", scene_.task.definition.name}, {"error", failure_text()}});
}

void Stop::watch_exits() {
    const auto failed = [this](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (...) {
            say_failure("Process can't be watched");
        }
    };
    for (auto& container : scene_.containers)
        watching_.spawn(watch_exit(container.process), failed);
}

awaitable<void> Stop::watch_exit(Process& process) {
    const ExitStatus status = co_await process.exit();
    for (std::size_t index = 0; index < scene_.containers.size(); ++index) {
        const auto& container = scene_.containers[index];
        if (&container.process != &process) continue;
        endings_[index]->ending.exited(status);
        note_exit(container.name, status);
        if (container.essential) gone_.set();
    }
}

/// Whoever goes on after us could not learn it any more.
void Stop::note_exit(const std::string& container, const ExitStatus& status) {
    for (auto& state : scene_.task.containers) {
        if (state.name != container || state.exit == status) continue;
        state.exit = status;
        scene_.journal.note(scene_.task);
    }
}

void Stop::join(const StopRequest& request) {
    const bool signalled = std::any_of(endings_.begin(), endings_.end(), [](const auto& ending) {
        return ending->ending.was_signalled();
    });
    const bool shortened = limits_.join(request, signalled);
    if (shortened) {
        keep_plan();
        recorder_.keep(std::nullopt);
    }
    scene_.log.say(Level::info, shortened ? "Stop shortened" : "Stop joined, nothing changed",
                   {{"task", scene_.task.definition.name}, {"requestedBy", to_string(request.by)}});
}

void Stop::became(TaskStatus status) {
    scene_.task.last_status = status;
    scene_.task.desired_status = TaskStatus::stopped;
    if (!scene_.task.stopping_at) scene_.task.stopping_at = scene_.clock.utc();
}

StopRecord Stop::finish() {
    StopRecord& record = recorder_.record();
    record.containers.clear();
    bool signalled = false, killed = false;
    for (const auto& each : endings_) {
        const Ending& ending = each->ending;
        record.containers.push_back(ending.account());
        signalled = signalled || ending.was_signalled();
        killed = killed || ending.was_killed();
    }
    record.outcome = killed ? StopOutcome::killed : StopOutcome::graceful;
    if (!killed && (exited_by_itself_ || !signalled)) record.outcome = StopOutcome::exited;
    if (!record.survivors.empty()) record.outcome = StopOutcome::unkillable;
    record.duration = recorder_.since_request();
    if (record.outcome != StopOutcome::unkillable) record.stopped_at = scene_.clock.utc();
    return record;
}

}  // namespace lastcall
