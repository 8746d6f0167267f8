#pragma once
#include <functional>
#include <list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/helpers/aws/failure.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {

/// Looks again and again who has left, for as long as somebody wants to know: one look an interval,
/// however many are waited for.
template <class Key>
class Lookout {
 public:
    /// Those of `watched` that have left. A Failure is noted, and the next look comes.
    using Look = std::function<awaitable<std::set<Key>>(std::vector<Key> watched, Note note)>;
    /// `jitter`: random numbers in [0, 1); intervals are up to a fifth longer. `gate` must be
    /// closed before this is gone.
    Lookout(Gate& gate, Clock& clock, asio::any_io_executor executor, Clock::duration interval,
            std::function<double()> jitter, Look look)
        : gate_(gate),
          clock_(clock),
          executor_(std::move(executor)),
          interval_(interval),
          jitter_(std::move(jitter)),
          look_(std::move(look)) {}
    Lookout(const Lookout&) = delete;
    Lookout& operator=(const Lookout&) = delete;

    /// Returns when a look that began after this was asked has seen that `key` has left.
    awaitable<void> until_gone(Key key, Note note) {
        Watch watch(*this, std::move(key), std::move(note));
        if (!looking_) {
            looking_ = true;
            gate_.spawn(look_out(), nullptr);
        }
        co_await watch.gone.wait();
    }

 private:
    struct Watch {
        Watch(Lookout& owner, Key which, Note say)
            : lookout(owner), key(std::move(which)), note(std::move(say)), gone(owner.executor_) {
            place = lookout.watches_.insert(lookout.watches_.end(), this);
        }
        ~Watch() { lookout.watches_.erase(place); }
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;
        Lookout& lookout;
        Key key;
        Note note;
        Event gone;
        bool looked_for = false;
        typename std::list<Watch*>::iterator place;
    };

    awaitable<void> look_out() {
        while (!watches_.empty()) {
            auto resting = clock_.sleep_until(next_);
            co_await std::move(resting);
            if (watches_.empty()) break;
            const auto pause = interval_ + interval_ / 5 * jitter_();
            next_ = after(clock_.now(), std::chrono::duration_cast<Clock::duration>(pause));
            auto looking = look_once();
            co_await std::move(looking);
        }
        looking_ = false;
    }

    awaitable<void> look_once() {
        std::set<Key> keys;
        for (Watch* each : watches_) {
            each->looked_for = true;
            keys.insert(each->key);
        }
        auto tell = [this](const std::string& text) {
            for (const Watch* each : watches_) each->note(text);
        };
        std::string trouble;
        try {
            auto looking = look_(std::vector<Key>(keys.begin(), keys.end()), tell);
            const std::set<Key> gone = co_await std::move(looking);
            for (Watch* each : watches_) {
                if (each->looked_for && gone.contains(each->key)) each->gone.set();
            }
        } catch (const Failure& failure) {  // nobody is failed by it: it is said, and looked again
            trouble = failure.what();
            // What a retry doesn't mend is asked for seldom.
            if (!failure.retry()) next_ = std::max(next_, after(clock_.now(), 6 * interval_));
        }
        if (!trouble.empty()) tell(trouble);
    }

    Gate& gate_;
    Clock& clock_;
    asio::any_io_executor executor_;
    Clock::duration interval_;
    std::function<double()> jitter_;
    Look look_;
    std::list<Watch*> watches_;
    Clock::time_point next_;
    bool looking_ = false;
};

}  // namespace lastcall::aws
