#include "agent/signals.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace lastcall {
namespace {

int open_signals() {
    sigset_t all;
    ::sigfillset(&all);
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

bool is_forwardable(const signalfd_siginfo& signal) {
    const auto number = static_cast<int>(signal.ssi_signo);
    if (number == SIGCHLD) return false;
    // Our own write to a pipe that nobody reads; the command has a SIGPIPE of its own.
    return number != SIGPIPE || static_cast<pid_t>(signal.ssi_pid) != ::getpid();
}

}  // namespace lastcall
