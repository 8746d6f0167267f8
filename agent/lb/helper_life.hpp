#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agent/lb/helper.hpp"

namespace lastcall::helper {

/// Counts what comes within a second.
class Rate {
 public:
    int count(Clock::time_point now) {
        if (now - since_ >= 1s) {
            since_ = now;
            count_ = 0;
        }
        return ++count_;
    }

 private:
    Clock::time_point since_{};
    int count_ = 0;
};

/// From the start of the program to its end.
struct Helper::Life {
    Life(asio::any_io_executor executor, Clock::time_point now)
        : began(now), over(executor), outgoing(executor), asked(executor) {}

    void end(std::string reason) {
        if (over.is_set()) return;
        why = std::move(reason);
        over.set();
    }

    std::unique_ptr<Program> program;
    Clock::time_point began;
    std::optional<Greeting> greeting;
    bool incompatible = false;  ///< no other life would be better
    Lines lines;
    Rate line_rate, error_rate;
    std::string last_note;
    bool strange_id_said = false;
    std::string why;
    Event over;
    Bell outgoing, asked;
};

}  // namespace lastcall::helper
