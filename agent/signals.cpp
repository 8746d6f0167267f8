#include "agent/signals.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace lastcall {
namespace {

int open_signals() {
    const sigset_t all = all_signals();
    const int descriptor = ::signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    if (descriptor == -1) {
        throw std::system_error(errno, std::generic_category(), "cannot read signals");
    }
    return descriptor;
}

}  // namespace

Signals::Signals(asio::any_io_executor executor)
    : descriptor_(std::move(executor), open_signals()) {}

awaitable<signalfd_siginfo> Signals::next() {
    for (;;) {
        signalfd_siginfo signal{};
        if (::read(descriptor_.native_handle(), &signal, sizeof signal) == sizeof signal) {
            co_return signal;
        }
        if (errno != EAGAIN && errno != EINTR) {
            throw std::system_error(errno, std::generic_category(), "cannot read signals");
        }
        co_await descriptor_.async_wait(descriptor_.wait_read, use_awaitable);
    }
}

std::optional<StopRequest> StopSignals::wish(int signal, const Requester& by,
                                             Clock::time_point now) {
    if (signal != SIGTERM && signal != SIGINT && signal != stop_signal_) return std::nullopt;
    StopRequest request{.reason = fmt::format("Received {}", signal_name(signal)), .by = by};
    // What asked is what the main process gets, unless the configuration names another.
    if (!stop_signal_) request.signal = signal;
    return signal == SIGINT ? impatience(std::move(request), now) : request;
}

StopRequest StopSignals::impatience(StopRequest request, Clock::time_point now) {
    const bool same = last_interrupt_ && now - *last_interrupt_ < 1s;
    if (!same) {
        ++interrupts_;
        last_interrupt_ = now;
    }
    request.drain = interrupts_ < 2;
    request.force = interrupts_ >= 3;
    return request;
}

sigset_t all_signals() {
    sigset_t all;
    std::memset(&all, 0xFF, sizeof all);  // sigfillset(3) leaves out 32 and 33
    return all;
}

int delivered(const SignalMap& map, int signal) {
    const auto mapped = map.find(signal);
    return mapped == map.end() ? signal : mapped->second;
}

bool is_forwardable(const signalfd_siginfo& signal) {
    const auto number = static_cast<int>(signal.ssi_signo);
    if (number == SIGCHLD) return false;
    // Ours: a write to a pipe that nobody reads, or what continued our process group.
    const bool about_us = number == SIGPIPE || number == SIGCONT;
    return !about_us || static_cast<pid_t>(signal.ssi_pid) != ::getpid();
}

}  // namespace lastcall
