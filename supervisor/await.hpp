#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <functional>
#include <list>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/clock.hpp"

// How coroutines wait here. Every race in the product is `unless`; every background coroutine is
// inside a `Gate`.
namespace lastcall {

using asio::use_awaitable;

/// Awaits `work` unless `limit` ends first: then nullopt, and `work` is cancelled. A result that
/// arrives in the same instant as the limit is still a result.
template <class T>
awaitable<std::optional<T>> unless(awaitable<void> limit, awaitable<T> work) {
    namespace ax = asio::experimental;
    auto executor = co_await asio::this_coro::executor;
    auto working = asio::co_spawn(executor, std::move(work), asio::deferred);
    auto waiting = asio::co_spawn(executor, std::move(limit), asio::deferred);
    auto race = ax::make_parallel_group(std::move(working), std::move(waiting));
    auto [order, failure, result, ended] =
        co_await race.async_wait(ax::wait_for_one(), use_awaitable);
    if (!failure) co_return std::move(result);
    if (order[0] == 1 && !ended) co_return std::nullopt;
    if (order[0] == 1) std::rethrow_exception(ended);
    std::rethrow_exception(failure);
}

/// Runs `work` and says it is done, so that work without a result can race too.
inline awaitable<bool> done(awaitable<void> work) {
    co_await std::move(work);
    co_return true;
}

/// `unless`, with a moment as the limit.
template <class T>
awaitable<std::optional<T>> before(Clock& clock, Clock::time_point deadline, awaitable<T> work) {
    return unless(clock.sleep_until(deadline), std::move(work));
}

/// What went wrong, for people: the text of the exception being handled.
inline std::string failure_text() {
    try {
        throw;
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "an unknown failure";
    }
}

/// Throws if this coroutine was cancelled: for after a catch-all, which may have swallowed that.
inline awaitable<void> leave_if_cancelled() { co_return; }

/// A latch: `set` once, and everyone waiting (or about to wait) goes on.
class Event {
 public:
    explicit Event(asio::any_io_executor executor)
        : timer_(std::move(executor), asio::steady_timer::time_point::max()) {}
    void set() {
        set_ = true;
        timer_.cancel();
    }
    bool is_set() const { return set_; }
    awaitable<void> wait() {
        boost::system::error_code error;
        if (!set_) co_await timer_.async_wait(asio::redirect_error(use_awaitable, error));
        if (!set_) throw boost::system::system_error(error);
    }

 private:
    asio::steady_timer timer_;
    bool set_ = false;
};

/// Rings for one listener. A ring that comes while nobody listens is kept (one, however many came).
class Bell {
 public:
    explicit Bell(asio::any_io_executor executor)
        : timer_(std::move(executor), asio::steady_timer::time_point::max()) {}
    void ring() {
        rung_ = true;
        timer_.cancel();
    }
    awaitable<void> heard() {
        boost::system::error_code error;
        if (!rung_) co_await timer_.async_wait(asio::redirect_error(use_awaitable, error));
        if (!rung_) throw boost::system::system_error(error);
        rung_ = false;
    }

 private:
    asio::steady_timer timer_;
    bool rung_ = false;
};

/// Beats for everyone who listens at that moment, and for nobody else.
class Pulse {
 public:
    explicit Pulse(asio::any_io_executor executor)
        : timer_(std::move(executor), asio::steady_timer::time_point::max()) {}
    void beat() {
        ++beats_;
        timer_.cancel();
    }
    awaitable<void> next() {
        boost::system::error_code error;
        const auto heard = beats_;
        co_await timer_.async_wait(asio::redirect_error(use_awaitable, error));
        if (beats_ == heard) throw boost::system::system_error(error);
    }

 private:
    asio::steady_timer timer_;
    std::size_t beats_ = 0;
};

/// A moment that can come closer, never recede.
class Deadline {
 public:
    Deadline(asio::any_io_executor executor, Clock& clock, Clock::time_point at = never)
        : clock_(clock),
          at_(at),
          moved_(std::move(executor), asio::steady_timer::time_point::max()) {}
    Clock::time_point at() const { return at_; }
    /// False, and no effect, if `at` isn't earlier than what is planned.
    bool shorten(Clock::time_point at) {
        if (at >= at_) return false;
        at_ = at;
        moved_.cancel();
        return true;
    }
    bool passed() const { return clock_.now() >= at_; }
    awaitable<void> reached() {
        for (;;) {
            const auto moved = co_await before(clock_, at_, move());
            if (!moved) co_return;
        }
    }

 private:
    awaitable<bool> move() {
        boost::system::error_code error;
        const auto seen = at_;
        co_await moved_.async_wait(asio::redirect_error(use_awaitable, error));
        if (at_ == seen) throw boost::system::system_error(error);
        co_return true;
    }
    Clock& clock_;
    Clock::time_point at_;
    asio::steady_timer moved_;
};

/// Counts the coroutines in flight; `close` refuses new ones and returns when the last has left.
/// No parent may die before its children have left: close the gate before what they use is gone.
class Gate {
 public:
    using Failed = std::function<void(std::exception_ptr)>;
    explicit Gate(asio::any_io_executor executor) : executor_(executor), empty_(executor) {}
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

    /// Runs `work` to its end; what it throws goes to `failed`, never to the floor. A cancelled
    /// one has not failed.
    void spawn(awaitable<void> work, Failed failed) {
        if (closed_) throw std::logic_error("the gate is closed");
        const auto place = inside_.emplace(inside_.end());
        auto left = [this, place, failed = std::move(failed)](std::exception_ptr error) {
            inside_.erase(place);
            if (error && !cancelled_ && failed) failed(error);
            if (inside_.empty() && closed_) empty_.set();
        };
        asio::co_spawn(executor_, std::move(work),
                       asio::bind_cancellation_slot(place->slot(), std::move(left)));
    }
    /// Asks everybody inside to leave, and refuses new ones.
    void cancel() {
        closed_ = cancelled_ = true;
        for (auto each = inside_.begin(); each != inside_.end();) {
            const auto current = each++;  // it may leave, and take its place with it, at once
            current->emit(asio::cancellation_type::terminal);
        }
    }
    awaitable<void> close() {
        closed_ = true;
        if (inside_.empty()) empty_.set();
        co_await empty_.wait();
    }
    std::size_t inside() const { return inside_.size(); }

 private:
    asio::any_io_executor executor_;
    Event empty_;
    std::list<asio::cancellation_signal> inside_;
    bool closed_ = false;
    bool cancelled_ = false;
};

/// Awaits all of `works`, side by side. Each must have handled its own errors: the first that
/// escapes is thrown when all have ended.
inline awaitable<void> all(std::vector<awaitable<void>> works) {
    namespace ax = asio::experimental;
    if (works.empty()) co_return;
    if (works.size() == 1) {
        co_await std::move(works.front());
        co_return;
    }
    const auto executor = co_await asio::this_coro::executor;
    using Spawned =
        decltype(asio::co_spawn(executor, std::declval<awaitable<void>>(), asio::deferred));
    std::vector<Spawned> running;
    for (auto& work : works) {
        running.push_back(asio::co_spawn(executor, std::move(work), asio::deferred));
    }
    auto group = ax::make_parallel_group(std::move(running));
    auto [order, failures] = co_await group.async_wait(ax::wait_for_all(), use_awaitable);
    for (const auto& failure : failures) {
        if (failure) std::rethrow_exception(failure);
    }
}

}  // namespace lastcall
