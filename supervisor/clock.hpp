#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <memory>

namespace lastcall {

namespace asio = boost::asio;
using asio::awaitable;
using namespace std::chrono_literals;

/// Where all time comes from. An interface, because a 300 s drain is tested in microseconds.
///
/// `now` is time since boot, suspension included (CLOCK_BOOTTIME, clock_gettime(2)): every
/// deadline runs on it, and setting the date changes nothing.
class Clock {
 public:
    using duration = std::chrono::nanoseconds;
    using time_point = std::chrono::time_point<Clock, duration>;
    using utc_time = std::chrono::system_clock::time_point;
    static constexpr bool is_steady = true;

    virtual ~Clock() = default;
    virtual time_point now() const = 0;
    /// Returns at `deadline`, at once if that has passed.
    virtual awaitable<void> sleep_until(time_point deadline) = 0;
    /// Wall-clock time, for people to read; nothing is ever decided by it.
    virtual utc_time utc() const = 0;
};

/// "For ever": a deadline that nothing has set yet.
inline constexpr Clock::time_point never = Clock::time_point::max();

/// `at + delay`, without overflow: a delay too long to add is `never`.
constexpr Clock::time_point after(Clock::time_point at, Clock::duration delay) {
    return delay > never - at ? never : at + delay;
}

/// The kernel's clock. One timerfd serves all sleepers, and none is armed while nobody sleeps.
std::unique_ptr<Clock> boot_clock(asio::any_io_executor executor);

}  // namespace lastcall
