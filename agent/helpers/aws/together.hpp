#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "agent/helpers/aws/flight.hpp"

namespace lastcall::aws {

/// Does in one call what is asked for at about the same time: a thousand tasks that leave a target
/// group are a handful of calls.
template <class Item, class Result>
class Together {
 public:
    /// One call for all `items`. What it throws, all of them get.
    using Work = std::function<awaitable<Result>(std::vector<Item> items, Note note)>;
    /// Collects for `window` from the first on, at most `most` items a call. As long as they go on
    /// coming, each call collects twice as long as the one before, up to 0.64 s: a thousand
    /// that come within seconds are few calls too. `gate` must be closed before this is gone.
    Together(Gate& gate, Clock& clock, asio::any_io_executor executor, Clock::duration window,
             std::size_t most, Work work)
        : gate_(gate),
          clock_(clock),
          executor_(std::move(executor)),
          usual_(window),
          window_(window),
          most_(most),
          work_(std::move(work)) {}
    Together(const Together&) = delete;
    Together& operator=(const Together&) = delete;

    awaitable<Result> ask(Item item, Note note) {
        const std::shared_ptr<Call> call = open();
        call->items.push_back(std::move(item));
        if (call->items.size() == most_) {
            call->full.set();
            next_.reset();
        }
        co_return co_await call->flight->aboard(std::move(note));
    }

 private:
    static constexpr Clock::duration longest = 640ms, quiet = 1s;

    /// Owners: who asked, and the call under way.
    struct Call {
        explicit Call(asio::any_io_executor executor)
            : full(executor), flight(std::make_shared<Flight<Result>>(executor)) {}
        Event full;
        std::vector<Item> items;
        std::shared_ptr<Flight<Result>> flight;
    };

    std::shared_ptr<Call> open() {
        if (next_ && next_->flight->open()) return next_;
        next_ = std::make_shared<Call>(executor_);
        auto work = depart(next_);
        gate_.spawn(Flight<Result>::fly(next_->flight, std::move(work)), nullptr);
        return next_;
    }

    awaitable<Result> depart(std::shared_ptr<Call> call) {
        auto full = done(call->full.wait());
        const bool goes_on = last_left_ && clock_.now() < after(*last_left_, quiet);
        window_ = goes_on ? std::min(2 * window_, longest) : usual_;
        co_await before(clock_, after(clock_.now(), window_), std::move(full));
        last_left_ = clock_.now();
        if (next_ == call) next_.reset();
        // Raw: the flight holds this coroutine, not the other way round.
        Flight<Result>* const flight = call->flight.get();
        auto note = [flight](const std::string& text) { flight->note(text); };
        auto work = work_(call->items, note);
        co_return co_await std::move(work);
    }

    Gate& gate_;
    Clock& clock_;
    asio::any_io_executor executor_;
    Clock::duration usual_, window_;
    std::optional<Clock::time_point> last_left_;
    std::size_t most_;
    Work work_;
    std::shared_ptr<Call> next_;
};

}  // namespace lastcall::aws
