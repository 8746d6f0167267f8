#pragma once
#include <time.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "supervisor/clock.hpp"

namespace lastcall {

/// Real time, for tests of what is outside: one Asio timer a sleeper.
class RealClock : public Clock {
 public:
    time_point now() const override {
        timespec time{};
        ::clock_gettime(CLOCK_BOOTTIME, &time);
        return time_point(std::chrono::seconds(time.tv_sec) +
                          std::chrono::nanoseconds(time.tv_nsec));
    }
    awaitable<void> sleep_until(time_point deadline) override {
        asio::steady_timer timer(co_await asio::this_coro::executor);
        timer.expires_after(std::clamp<duration>(deadline - now(), 0s, std::chrono::hours(1)));
        co_await timer.async_wait(asio::use_awaitable);
    }
    utc_time utc() const override { return std::chrono::system_clock::now(); }
};

}  // namespace lastcall
