#include "agent/wrapper.hpp"

#include <signal.h>
#include <unistd.h>

#include <utility>

#include "agent/idle_memory.hpp"

namespace lastcall {
namespace {

bool stops_a_process(int signal) {
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

}  // namespace

awaitable<void> Wrapper::work(TaskDefinition definition, std::string id,
                              std::unique_ptr<Process> process) {
    process_ = process.get();
    house_.supervisor().start_with(std::move(definition), std::move(id), std::move(process));
    house_.alongside(house_.handle_signals([this](const auto& signal) { heard(signal); }));
    house_.alongside(settle());
    auto ending = house_.supervisor().stopped(settings_.task);
    record_ = co_await std::move(ending);
}

/// When the start is over: it waits for nobody, and nobody for it.
awaitable<void> Wrapper::settle() {
    co_await house_.clock->sleep_until(house_.clock->now() + 1s);
    release_program_pages();
}

void Wrapper::heard(const signalfd_siginfo& signal) {
    const auto number = static_cast<int>(signal.ssi_signo);
    if (number == SIGCHLD) {
        const int stopped_by = is_alive() ? terminal_.stopped_by() : 0;
        if (stopped_by != 0) terminal_.stopped(stopped_by, !is_being_stopped());
        return;
    }
    const int as = delivered(settings_.signal_map, number);
    if (as == 0) return;
    if (auto wish = stops_.wish(number, sender_of(signal), house_.clock->now())) {
        if (wish->signal) wish->signal = as;
        wish->force |= parent_.kills && number == SIGTERM && ::getppid() != parent_.id;
        house_.supervisor().request_stop(settings_.task, *wish);
    } else if (is_forwardable(signal)) {
        forward(signal, as);
    }
}

void Wrapper::forward(const signalfd_siginfo& signal, int as) {
    auto scope = settings_.stop.signal_scope;
    if (terminal_.wanted_beside_us(signal)) return;
    if (as == SIGCONT && is_alive() && terminal_.resume() && scope == SignalScope::main) {
        scope = SignalScope::group;  // Ctrl-Z has stopped all of it
    }
    const bool of_terminal = stops_a_process(as) && signal.ssi_code == SI_KERNEL;
    if (of_terminal && scope == SignalScope::main) scope = SignalScope::group;  // Ctrl-Z, to us
    process_->signal(as, scope);
    if (stops_a_process(as)) terminal_.asked_to_stop(signal);
}

bool Wrapper::is_being_stopped() {
    const auto view = house_.supervisor().view(settings_.task);
    return view.state.desired_status == TaskStatus::stopped;
}

}  // namespace lastcall
