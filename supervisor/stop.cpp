#include "supervisor/stop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace lastcall {
namespace {

constexpr Clock::duration kill_patience =
    10s;                                       // for SIGKILL to empty a tree; then it is unkillable
constexpr Clock::duration kill_again = 100ms;  // what was forked while we killed

std::int64_t whole_milliseconds(Clock::duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

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
            .requested_at = scene.clock.utc()};
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
    if (limits_.forced_by) {
        co_await recorder_.skip(Phase::deregister, "", "force", limits_.forced_by);
    } else {
        co_await leaving_.deregister();
        const auto drain_signal = scene_.task.definition.stop.drain_signal;
        if (drain_signal) {
            for (auto& each : scene_.containers)
                signal(each.process, *drain_signal, SignalScope::main);
        }
        leaving_.keep_asking();
    }
    co_await leaving_.drain();
}

awaitable<void> Stop::pre_stop() {
    const auto& settings = scene_.task.definition.stop;
    if (settings.pre_stop.empty() || gone_.is_set()) co_return;
    if (limits_.forced_by) {
        co_await recorder_.skip(Phase::pre_stop, "", "force", limits_.forced_by);
        co_return;
    }
    Detail detail;
    detail.set("command", settings.pre_stop);
    const auto phase = co_await recorder_.begin(Phase::pre_stop, "", std::move(detail));
    // Caught here: a hook that can't be run is told, and the stop goes on.
    std::string error;
    try {
        co_await run_pre_stop(phase);
    } catch (...) {
        error = failure_text();
    }
    if (error.empty()) co_return;
    recorder_.note(phase, "error", error);
    co_await recorder_.end(phase, Outcome::failed);
}

awaitable<void> Stop::run_pre_stop(std::size_t phase) {
    const auto& definition = scene_.task.definition;
    const auto& settings = definition.stop;
    ContainerDefinition hook = definition.containers.front();
    hook.name = "pre-stop";
    hook.command = {"/bin/sh", "-c", settings.pre_stop};
    const auto process = scene_.launcher.launch(hook, scene_.task.id);
    const auto own = after(scene_.clock.now(), settings.pre_stop_timeout);
    auto waiting = before(scene_.clock, own, process->exit());
    const auto exited = co_await unless(limits_.signal.reached(), std::move(waiting));
    if (exited && *exited) {
        const ExitStatus& status = **exited;
        recorder_.note(phase, "exitCode", std::int64_t{status.code});
        if (status.signal != 0) recorder_.note(phase, "signal", signal_name(status.signal));
        const bool good = status == ExitStatus{};
        co_await recorder_.end(phase, good ? Outcome::completed : Outcome::failed);
        co_return;
    }
    process->signal(SIGKILL, SignalScope::tree);
    const bool by_somebody = !exited && limits_.signal.by();
    recorder_.note(phase, "limit", exited ? "pre-stop timeout" : limits_.signal.why());
    if (by_somebody) recorder_.note(phase, "requestedBy", to_string(*limits_.signal.by()));
    co_await before(scene_.clock, scene_.clock.now() + 1s, done(process->empty()));
    co_await recorder_.end(phase, by_somebody ? Outcome::interrupted : Outcome::timed_out);
}

awaitable<void> Stop::end_containers() {
    std::vector<awaitable<void>> works;
    for (std::size_t index = 0; index < scene_.containers.size(); ++index) {
        works.push_back(end(index));
    }
    co_await all(std::move(works));
}

/// One container: the stop signal, its timeout, SIGKILL.
awaitable<void> Stop::end(std::size_t index) {
    auto& container = scene_.containers[index];
    auto& ending = *endings_[index];
    for (const auto dependant : container.after) co_await endings_[dependant]->over.wait();
    ending.gone = co_await leave_on_signal(index);
    if (!ending.gone) ending.gone = co_await kill(index);
    if (!ending.gone) {
        for (auto& survivor : container.process.survivors()) {
            recorder_.record().survivors.push_back(std::move(survivor));
        }
    }
    ending.over.set();
}

/// True when the whole tree has left in time.
awaitable<bool> Stop::leave_on_signal(std::size_t index) {
    auto& [name, process, essential, own_timeout, dependants] = scene_.containers[index];
    if (limits_.forced_by) {
        co_await recorder_.skip(Phase::sigterm, name, "force", limits_.forced_by);
        co_return false;
    }
    if (process.survivors().empty()) {
        exits_[index] = co_await process.exit();
        co_return true;
    }
    const auto now = scene_.clock.now();
    const auto deadline =
        std::min(after(now, limits_.stop_timeout(own_timeout)), limits_.kill.at());
    Detail detail;
    detail.set("signal", signal_name(stop_signal_));
    detail.set("stopTimeoutMs", whole_milliseconds(deadline - now));
    const auto phase = co_await recorder_.begin(Phase::sigterm, name, std::move(detail));
    endings_[index]->signalled = scene_.clock.now();
    signal(process, stop_signal_, scene_.task.definition.stop.signal_scope);

    auto leaving = before(scene_.clock, deadline, tree_leaves(index, phase));
    const auto left = co_await unless(limits_.kill.reached(), std::move(leaving));
    const bool all_gone = process.survivors().empty();
    if ((left && *left) || all_gone) {  // gone in the very instant of the deadline is gone in time
        exits_[index] = co_await process.exit();
        co_await recorder_.end(phase, Outcome::completed);
        co_return true;
    }
    const bool by_somebody = limits_.kill.passed() && limits_.kill.by();
    recorder_.note(phase, "limit", limits_.kill.passed() ? limits_.kill.why() : "stop timeout");
    if (by_somebody) recorder_.note(phase, "requestedBy", to_string(*limits_.kill.by()));
    recorder_.note(phase, "left", static_cast<std::int64_t>(process.survivors().size()));
    co_await recorder_.end(phase, by_somebody ? Outcome::interrupted : Outcome::timed_out);
    co_return false;
}

/// Waits for the main process, then for what it leaves behind: that gets the stop signal too.
awaitable<bool> Stop::tree_leaves(std::size_t index, std::size_t phase) {
    auto& process = scene_.containers[index].process;
    std::string error;
    // Caught here: what we can't wait for has not left, so SIGKILL comes when it is due.
    try {
        const ExitStatus status = co_await process.exit();
        exits_[index] = status;
        if (status.signal == 0) recorder_.note(phase, "exitCode", std::int64_t{status.code});
        const bool alone = process.survivors().empty();
        if (!alone) signal(process, stop_signal_, SignalScope::tree);
        co_await process.empty();
        co_return true;
    } catch (...) {
        error = failure_text();
    }
    co_await leave_if_cancelled();
    recorder_.note(phase, "error", error);
    co_await scene_.clock.sleep_until(never);
    co_return false;
}

/// True when the tree is empty; false when SIGKILL couldn't help.
awaitable<bool> Stop::kill(std::size_t index) {
    auto& container = scene_.containers[index];
    Detail detail;
    if (limits_.forced_by) detail.set("requestedBy", to_string(*limits_.forced_by));
    const auto phase = co_await recorder_.begin(Phase::sigkill, container.name, std::move(detail));
    endings_[index]->killed = scene_.clock.now();
    const auto until = scene_.clock.now() + kill_patience;
    bool gone = false;
    while (!gone && scene_.clock.now() < until) {
        signal(container.process, SIGKILL, SignalScope::tree);
        const auto next = std::min(until, scene_.clock.now() + kill_again);
        // Caught here: what can't be waited for is looked at again.
        try {
            auto emptying = done(container.process.empty());
            const auto emptied = co_await before(scene_.clock, next, std::move(emptying));
            gone = emptied.has_value();
        } catch (...) {
            recorder_.note(phase, "error", failure_text());
        }
        if (!gone) co_await scene_.clock.sleep_until(next);
    }
    recorder_.note(phase, "survivors",
                   static_cast<std::int64_t>(container.process.survivors().size()));
    co_await recorder_.end(phase, gone ? Outcome::completed : Outcome::failed);
    co_return gone;
}

awaitable<void> Stop::clean_up() {
    if (!exited_by_itself_) co_await leaving_.deregister_late();
}

// ------------------------------------------------------------------------- around the story

Stop::Stop(StopScene scene, const StopRequest& first)
    : scene_(std::move(scene)),
      limits_(scene_.executor, scene_.clock, scene_.task.definition.stop,
              longest_timeout(scene_.containers), first),
      recorder_(scene_.clock, scene_.journal, scene_.log, opening(scene_, first)),
      gone_(scene_.executor),
      leaving_({scene_.executor, scene_.clock, scene_.log, recorder_, limits_, scene_.evidence,
                gone_, scene_.task.definition.stop},
               scene_.watches),
      watching_(scene_.executor),
      exits_(scene_.containers.size()),
      stop_signal_(
          first.signal.value_or(scene_.task.definition.stop.stop_signal.value_or(SIGTERM))),
      exited_by_itself_(first.code == StopCode::essential_container_exited) {
    if (exited_by_itself_) gone_.set();
    for (std::size_t index = 0; index < scene_.containers.size(); ++index) {
        endings_.push_back(std::make_unique<Ending>(Ending{.over = Event(scene_.executor)}));
    }
    if (!scene_.watches.empty()) {
        recorder_.record().deregistration_delay = limits_.deregistration_delay;
    }
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
        exits_[index] = status;
        if (container.essential) gone_.set();
    }
}

void Stop::join(const StopRequest& request) {
    const bool signalled = std::any_of(endings_.begin(), endings_.end(), [](const auto& ending) {
        return ending->signalled.has_value();
    });
    const bool shortened = limits_.join(request, signalled);
    scene_.log.say(Level::info, shortened ? "Stop shortened" : "Stop joined, nothing changed",
                   {{"task", scene_.task.definition.name}, {"requestedBy", to_string(request.by)}});
}

/// SIGCONT after it: a stopped process can't handle a signal.
void Stop::signal(Process& process, int number, SignalScope scope) {
    // Caught here: who can't be signalled is waited for, and killed when that is due.
    try {
        process.signal(number, scope);
        if (number != SIGKILL) process.signal(SIGCONT, scope);
    } catch (...) {
        say_failure("Signal could not be sent");
    }
}

void Stop::became(TaskStatus status) {
    scene_.task.last_status = status;
    scene_.task.desired_status = TaskStatus::stopped;
    if (!scene_.task.stopping_at) scene_.task.stopping_at = scene_.clock.utc();
}

ContainerEnd Stop::how_it_ended(std::size_t index) const {
    const Ending& ending = *endings_[index];
    ContainerEnd end{.name = scene_.containers[index].name, .exit = exits_[index]};
    const int signal = end.exit ? end.exit->signal : 0;
    if (signal == SIGKILL && ending.killed) end.killed_by = Phase::sigkill;
    if (signal == stop_signal_ && ending.signalled && !end.killed_by)
        end.killed_by = Phase::sigterm;
    return end;
}

StopRecord Stop::finish() {
    StopRecord& record = recorder_.record();
    const auto any = [this](auto Ending::* moment) {
        return std::any_of(endings_.begin(), endings_.end(),
                           [moment](const auto& ending) { return (*ending.*moment).has_value(); });
    };
    for (std::size_t index = 0; index < endings_.size(); ++index) {
        record.containers.push_back(how_it_ended(index));
    }
    record.outcome = any(&Ending::killed) ? StopOutcome::killed : StopOutcome::graceful;
    if (!any(&Ending::killed) && (exited_by_itself_ || !any(&Ending::signalled))) {
        record.outcome = StopOutcome::exited;
    }
    if (!record.survivors.empty()) record.outcome = StopOutcome::unkillable;
    record.duration = recorder_.since_request();
    if (record.outcome != StopOutcome::unkillable) record.stopped_at = scene_.clock.utc();
    return record;
}

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
