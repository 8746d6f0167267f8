#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>
#include <map>
#include <optional>
#include <stdexcept>

#include "supervisor/await.hpp"
#include "supervisor/clock.hpp"

namespace lastcall {

/// Time that passes only when nobody has anything else to do.
class VirtualClock final : public Clock {
 public:
    time_point now() const override { return now_; }
    utc_time utc() const override {
        return utc_time(
            std::chrono::floor<std::chrono::microseconds>(now_.time_since_epoch() + date_));
    }
    awaitable<void> sleep_until(time_point deadline) override {
        const auto executor = co_await asio::this_coro::executor;
        asio::steady_timer alarm(executor, asio::steady_timer::time_point::max());
        const Bed bed(*this, deadline, alarm);
        boost::system::error_code error;
        co_await alarm.async_wait(asio::redirect_error(use_awaitable, error));
        if (now_ < deadline) throw boost::system::system_error(error);
    }
    /// Jumps to the earliest deadline anyone sleeps for; false when nobody ever wakes.
    bool advance_to_next() {
        if (beds_.empty() || beds_.begin()->first == never) return false;
        now_ = std::max(now_, beds_.begin()->first);
        for (auto bed = beds_.begin(); bed != beds_.upper_bound(now_); ++bed) bed->second->cancel();
        return true;
    }
    /// Somebody sets the date: by so much from what it would be.
    void set_date(duration by) { date_ = by; }
    /// The time at which this world begins.
    void begin(time_point at) { now_ = at; }
    std::size_t sleepers() const { return beds_.size(); }

 private:
    using Beds = std::multimap<time_point, asio::steady_timer*>;
    struct Bed {
        Bed(VirtualClock& owner, time_point deadline, asio::steady_timer& alarm)
            : clock(owner), place(clock.beds_.emplace(deadline, &alarm)) {}
        ~Bed() { clock.beds_.erase(place); }
        Bed(const Bed&) = delete;
        Bed& operator=(const Bed&) = delete;
        VirtualClock& clock;
        Beds::iterator place;
    };
    time_point now_{};
    duration date_{};
    Beds beds_;
};

/// One single-threaded world: runs until idle, then jumps to the next deadline.
class Sim {
 public:
    VirtualClock clock;
    asio::any_io_executor executor() { return io_.get_executor(); }

    template <class T>
    T run(awaitable<T> work) {
        std::exception_ptr failure;
        std::optional<T> result;
        bool over = false;
        asio::co_spawn(io_, std::move(work), [&](std::exception_ptr error, T value) {
            failure = error;
            if (!error) result = std::move(value);
            over = true;
        });
        while (!over) {
            io_.restart();
            const bool progressed = io_.poll() > 0;
            if (!over && !progressed && !clock.advance_to_next()) {
                throw std::logic_error("deadlock: nothing is ready and nobody sleeps");
            }
        }
        io_.restart();
        io_.poll();  // what is only waiting to leave
        if (failure) std::rethrow_exception(failure);
        return std::move(*result);
    }
    void run(awaitable<void> work) { run(done(std::move(work))); }

    /// Goes on until `over`, which is asked after every single step; false when nothing happens any
    /// more.
    template <class Over>
    bool run_until(Over over) {
        while (!over()) {
            io_.restart();
            if (io_.poll_one() == 0 && !clock.advance_to_next()) return false;
        }
        return true;
    }
    void spawn(awaitable<void> work) {
        asio::co_spawn(io_, std::move(work), [](std::exception_ptr error) {
            if (error) std::rethrow_exception(error);
        });
    }

    /// `action` happens at that time, whatever else is going on.
    template <class Action>
    void at(Clock::duration time, Action action) {
        auto wait_and_act = [](Clock& when, Clock::time_point moment,
                               Action act) -> awaitable<void> {
            co_await when.sleep_until(moment);
            act();
        };
        asio::co_spawn(io_, wait_and_act(clock, Clock::time_point(time), std::move(action)),
                       [](std::exception_ptr) {});
    }

 private:
    asio::io_context io_{1};
};

}  // namespace lastcall
