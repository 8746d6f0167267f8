#include "supervisor/ending.hpp"

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

double milliseconds(Clock::duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

/// What the kernel sends to a process for what it did itself.
bool is_fault(int signal) {
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
        if (signal == fault) return true;
    }
    return false;
}

}  // namespace

Ending::Ending(Scene scene, const StoppingContainer& container)
    : scene_(scene), container_(container) {
    // What an earlier agent has sent counts as ours.
    const auto& name = container_.name;
    const auto& recorder = scene_.recorder;
    const auto* const signalled = recorder.ended(Phase::sigterm, name);
    signalled_ = signalled && signalled->outcome != Outcome::skipped;
    killed_ = recorder.under_way(Phase::sigkill, name) || recorder.ended(Phase::sigkill, name);
}

awaitable<void> Ending::run() {
    if (left_before()) co_return;
    bool gone = false;
    // Caught here: whatever goes wrong while we wait for it, SIGKILL follows.
    try {
        gone = co_await leave_on_signal();
    } catch (...) {
        scene_.log.say(Level::error, "Container can't be waited for",
                       {{"container", container_.name}, {"error", failure_text()}});
    }
    co_await leave_if_cancelled();
    if (!gone) gone = co_await kill();
    if (gone) co_return;
    for (auto& survivor : container_.process.survivors()) {
        scene_.recorder.record().survivors.push_back(std::move(survivor));
    }
}

/// True when the whole tree has left in time.
awaitable<bool> Ending::leave_on_signal() {
    auto& [clock, log, recorder, limits, stop_signal, scope] = scene_;
    auto& process = container_.process;
    const bool under_way = recorder.under_way(Phase::sigterm, container_.name);
    if (recorder.ended(Phase::sigterm, container_.name)) co_return false;  // SIGKILL is next
    if (limits.forced_by && !under_way) {
        recorder.skip(Phase::sigterm, container_.name, "force", limits.forced_by);
        co_return false;
    }
    if (!under_way && !any_left()) {
        const ExitStatus status = co_await process.exit();
        exited(status);
        co_return true;
    }
    const auto timeout = limits.stop_timeout(container_.stop_timeout);
    const auto now = clock.now();
    const auto planned = std::min(after(now, timeout), limits.kill.at());
    Detail detail;
    detail.set("signal", signal_name(stop_signal));
    detail.set("stopTimeoutMs", whole_milliseconds(planned - now));
    const auto phase = co_await recorder.begin(Phase::sigterm, container_.name, std::move(detail));
    const auto deadline = std::min(after(recorder.started(phase), timeout), limits.kill.at());
    signalled_ = true;
    // Not a second time: many take that for "at once". Only if the agent before us died between the
    // signal and this note, it comes twice: never to send it would be worse.
    if (!recorder.record().phases[phase].detail.find("sentAfterMs")) {
        signal(log, process, stop_signal, scope);
        recorder.note_for_good(phase, "sentAfterMs",
                               milliseconds(clock.now() - recorder.started(phase)));
    }

    auto leaving = before(clock, deadline, tree_leaves(phase));
    const auto left = co_await unless(limits.kill.reached(), std::move(leaving));
    const std::size_t still = count_left();
    if ((left && *left) ||
        still == 0) {  // gone in the very instant of the deadline is gone in time
        const ExitStatus status = co_await process.exit();
        exited(status);
        recorder.end(phase, Outcome::completed);
        co_return true;
    }
    const bool by_somebody = limits.kill.passed() && limits.kill.by();
    recorder.note(phase, "limit", limits.kill.passed() ? limits.kill.why() : "stop timeout");
    if (by_somebody) recorder.note(phase, "requestedBy", to_string(*limits.kill.by()));
    recorder.note(phase, "left", static_cast<std::int64_t>(still));
    recorder.end(phase, by_somebody ? Outcome::interrupted : Outcome::timed_out);
    co_return false;
}

/// Waits for the main process, then for what it leaves behind: that gets the stop signal too.
awaitable<bool> Ending::tree_leaves(std::size_t phase) {
    auto& process = container_.process;
    std::string error;
    // Caught here: what we can't wait for has not left, so SIGKILL comes when it is due.
    try {
        const ExitStatus status = co_await process.exit();
        exited(status);
        if (status.signal == 0 && status.is_known())
            scene_.recorder.note(phase, "exitCode", std::int64_t{status.code});
        const bool alone = count_left() == 0;
        if (!alone) signal(scene_.log, process, scene_.stop_signal, SignalScope::tree);
        co_await process.empty();
        co_return true;
    } catch (...) {
        error = failure_text();
    }
    co_await leave_if_cancelled();
    scene_.recorder.note(phase, "error", error);
    co_await scene_.clock.sleep_until(never);
    co_return false;
}

/// True when the tree is empty; false when SIGKILL couldn't help.
awaitable<bool> Ending::kill() {
    auto& [clock, log, recorder, limits, stop_signal, scope] = scene_;
    auto& process = container_.process;
    Detail detail;
    if (limits.forced_by) detail.set("requestedBy", to_string(*limits.forced_by));
    const auto phase = co_await recorder.begin(Phase::sigkill, container_.name, std::move(detail));
    killed_ = true;
    const auto until = std::max(recorder.started(phase) + kill_patience, clock.now() + kill_again);
    bool gone = false;
    while (!gone && clock.now() < until) {
        signal(log, process, SIGKILL, SignalScope::tree);
        const auto next = std::min(until, clock.now() + kill_again);
        // Caught here: what can't be waited for is looked at again.
        try {
            auto emptying = done(process.empty());
            const auto emptied = co_await before(clock, next, std::move(emptying));
            gone = emptied.has_value();
        } catch (...) {
            recorder.note(phase, "error", failure_text());
        }
        if (!gone) co_await clock.sleep_until(next);
    }
    recorder.note(phase, "survivors", static_cast<std::int64_t>(count_left()));
    recorder.end(phase, gone ? Outcome::completed : Outcome::failed);
    co_return gone;
}

/// An earlier agent saw that nobody was left.
bool Ending::left_before() const {
    for (const auto phase : {Phase::sigterm, Phase::sigkill}) {
        const auto* const ended = scene_.recorder.ended(phase, container_.name);
        if (ended && ended->outcome == Outcome::completed) return true;
    }
    return false;
}

bool Ending::any_left() const {
    // Caught here: who can't be looked at has not gone.
    try {
        return container_.process.any_left();
    } catch (...) {
        return count_left() > 0;  // which says why
    }
}

std::size_t Ending::count_left() const {
    // Caught here: who can't be looked at has not gone.
    try {
        return container_.process.left();
    } catch (...) {
        scene_.log.say(Level::error, "Processes can't be counted",
                       {{"container", container_.name}, {"error", failure_text()}});
    }
    return 1;
}

void Ending::exited(ExitStatus status) {
    if (!exit_) {
        exited_signalled_ = signalled_;
        exited_killed_ = killed_;
    }
    exit_ = status;
}

ContainerEnd Ending::account() const {
    ContainerEnd end{.name = container_.name, .exit = exit_};
    const int signal = end.exit ? end.exit->signal : 0;
    const bool by_kill = signal == SIGKILL && exited_killed_;
    const bool by_stop_signal = signal == scene_.stop_signal && exited_signalled_;
    if (end.exit && end.exit->out_of_memory) {
        end.killed_by = Killer::oom_killer;
        end.reason = "OutOfMemoryError: Container killed due to memory usage";
    } else if (end.exit && !end.exit->is_known()) {
        end.reason =
            end.exit->known == Known::unseen
                ? "UnknownExitCode: it ended while no agent was there to see how"
                : "UnknownExitCode: it was no child of this agent, and the kernel kept none";
    } else if (by_kill) {
        end.killed_by = Killer::sigkill;
    } else if (by_stop_signal) {
        end.killed_by = Killer::sigterm;
    } else if (signal != 0 && !is_fault(signal)) {
        end.killed_by = Killer::somebody_else;
    }
    return end;
}

void Ending::signal(Log& log, Process& process, int number, SignalScope scope) {
    // Caught here: who can't be signalled is waited for, and killed when that is due.
    try {
        process.signal(number, scope);
        if (number != SIGKILL) process.signal(SIGCONT, scope);
    } catch (...) {
        log.say(Level::error, "Signal could not be sent",
                {{"signal", signal_name(number)}, {"error", failure_text()}});
    }
}

}  // namespace lastcall
