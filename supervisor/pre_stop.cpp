#include "supervisor/pre_stop.hpp"

#include <csignal>

namespace lastcall {

awaitable<void> PreStop::run() {
    auto& recorder = scene_.recorder;
    if (scene_.limits.forced_by) {
        recorder.skip(Phase::pre_stop, "", "force", scene_.limits.forced_by);
        co_return;
    }
    Detail detail;
    detail.set("command", scene_.task.definition.stop.pre_stop);
    const auto phase = co_await recorder.begin(Phase::pre_stop, "", std::move(detail));
    // Caught here: whatever is wrong with the hook is nothing to stop a stop for.
    std::string error;
    try {
        co_await run(phase);
    } catch (...) {
        error = failure_text();
    }
    if (error.empty()) co_return;
    recorder.note(phase, "error", error);
    recorder.end(phase, Outcome::failed);
}

awaitable<void> PreStop::run(std::size_t phase) {
    const auto& definition = scene_.task.definition;
    ContainerDefinition hook = definition.containers.front();
    hook.name = "pre-stop";
    hook.command = {"/bin/sh", "-c", definition.stop.pre_stop};
    hook.is_hook = true;
    const auto process = scene_.launcher.launch(hook, scene_.task.id + "-pre-stop");
    co_await wait_for(*process, phase);
}

awaitable<void> PreStop::wait_for(Process& process, std::size_t phase) {
    auto& [clock, launcher, recorder, limits, task] = scene_;
    const auto own = after(clock.now(), task.definition.stop.pre_stop_timeout);
    auto waiting = before(clock, own, process.exit());
    const auto exited = co_await unless(limits.signal.reached(), std::move(waiting));
    process.signal(SIGKILL, SignalScope::tree);
    Outcome outcome = Outcome::timed_out;
    if (exited && *exited) {
        const ExitStatus& status = **exited;
        recorder.note(phase, "exitCode", std::int64_t{status.code});
        if (status.signal != 0) recorder.note(phase, "signal", signal_name(status.signal));
        outcome = status == ExitStatus{} ? Outcome::completed : Outcome::failed;
    } else {
        const bool by_somebody = !exited && limits.signal.by();
        recorder.note(phase, "limit", exited ? "pre-stop timeout" : limits.signal.why());
        if (by_somebody) recorder.note(phase, "requestedBy", to_string(*limits.signal.by()));
        if (by_somebody) outcome = Outcome::interrupted;
    }
    auto emptying = done(process.empty());
    co_await before(clock, clock.now() + 1s, std::move(emptying));
    recorder.end(phase, outcome);
}

}  // namespace lastcall
