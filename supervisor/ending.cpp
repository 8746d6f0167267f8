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

/// What the kernel sends to a process for what it did itself.
bool is_fault(int signal) {
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
        if (signal == fault) return true;
    }
    return false;
}

}  // namespace

awaitable<void> Ending::run() {
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
    if (limits.forced_by) {
        recorder.skip(Phase::sigterm, container_.name, "force", limits.forced_by);
        co_return false;
    }
    if (!any_left()) {
        const ExitStatus status = co_await process.exit();
        exited(status);
        co_return true;
    }
    const auto now = clock.now();
    const auto deadline =
        std::min(after(now, limits.stop_timeout(container_.stop_timeout)), limits.kill.at());
    Detail detail;
    detail.set("signal", signal_name(stop_signal));
    detail.set("stopTimeoutMs", whole_milliseconds(deadline - now));
    const auto phase = co_await recorder.begin(Phase::sigterm, container_.name, std::move(detail));
    signalled_ = true;
    signal(log, process, stop_signal, scope);

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
        if (status.signal == 0) scene_.recorder.note(phase, "exitCode", std::int64_t{status.code});
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
    const auto until = clock.now() + kill_patience;
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
