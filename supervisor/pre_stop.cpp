#include "supervisor/pre_stop.hpp"

#include <csignal>
#include <memory>

namespace lastcall {

awaitable<void> PreStop::run() {
    auto& recorder = scene_.recorder;
    if (recorder.ended(Phase::pre_stop)) co_return;
    const bool goes_on = recorder.under_way(Phase::pre_stop);
    if (scene_.limits.forced_by && !goes_on) {
        recorder.skip(Phase::pre_stop, "", "force", scene_.limits.forced_by);
        co_return;
    }
    Detail detail;
    detail.set("command", scene_.task.definition.stop.pre_stop);
    const auto phase = co_await recorder.begin(Phase::pre_stop, "", std::move(detail));
    // Caught here: whatever is wrong with the hook is nothing to stop a stop for.
    std::string error;
    try {
        co_await run(phase, goes_on);
    } catch (...) {
        error = failure_text();
    }
    if (error.empty()) co_return;
    recorder.note(phase, "error", error);
    recorder.end(phase, Outcome::failed);
}

awaitable<void> PreStop::run(std::size_t phase, bool goes_on) {
    const auto& definition = scene_.task.definition;
    ContainerDefinition hook = definition.containers.front();
    hook.name = "pre-stop";
    hook.command = {"/bin/sh", "-c", definition.stop.pre_stop};
    hook.is_hook = true;
    const auto mark = scene_.task.id + "-pre-stop";
    auto& recorder = scene_.recorder;
    std::unique_ptr<Process> process;
    if (goes_on) process = scene_.launcher.adopt(hook, mark, {.name = hook.name});
    // Not a second time: what it does may not bear that. Only if the agent before us died between
    // the launch and this note, and it was quick, it runs twice: never to run it would be worse.
    const bool was_launched = recorder.record().phases[phase].detail.find("pid") != nullptr;
    if (!process || (!was_launched && !process->any_left())) {
        process = scene_.launcher.launch(hook, mark);
        recorder.note_for_good(phase, "pid", std::int64_t{process->id()});
    }
    co_await wait_for(*process, phase);
}

awaitable<void> PreStop::wait_for(Process& process, std::size_t phase) {
    auto& [clock, launcher, recorder, limits, task] = scene_;
    const auto own = after(recorder.started(phase), task.definition.stop.pre_stop_timeout);
    auto waiting = before(clock, own, process.exit());
    const auto exited = co_await unless(limits.signal.reached(), std::move(waiting));
    process.signal(SIGKILL, SignalScope::tree);
    Outcome outcome = Outcome::timed_out;
    if (exited && *exited && !(*exited)->is_known()) {
        recorder.note(phase, "reason", "it ended while no agent was there to see how");
        outcome = Outcome::interrupted;
    } else if (exited && *exited) {
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
