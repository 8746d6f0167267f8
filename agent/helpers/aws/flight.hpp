#pragma once
#include <exception>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "agent/helpers/aws/failure.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {

/// One piece of work for which several wait. It runs in a gate of its own, so that whoever asked
/// first may leave; when nobody waits any more, it is cancelled.
template <class Result>
class Flight {
 public:
    explicit Flight(asio::any_io_executor executor) : landed_(executor), deserted_(executor) {}

    /// Its result, or what it threw. Everybody aboard hears its notes. The flight must be kept by
    /// whoever awaits this.
    awaitable<Result> aboard(Note note) {
        const Seat seat(*this, std::move(note));
        co_await landed_.wait();
        if (failure_) std::rethrow_exception(failure_);
        co_return *result_;
    }
    /// Whether one more may still come aboard.
    bool open() const { return !landed_.is_set() && !deserted_.is_set(); }
    void note(const std::string& text) const {
        for (const auto& each : aboard_) each(text);
    }

    /// Does the work of `flight`. Owners of a flight: this, and everybody aboard.
    static awaitable<void> fly(std::shared_ptr<Flight> flight, awaitable<Result> work) {
        try {
            auto result = co_await unless(flight->deserted_.wait(), std::move(work));
            if (!result) throw Failure("nobody waits for it any more", true);
            flight->result_ = std::move(*result);
        } catch (...) {  // it is thrown to everybody aboard
            flight->failure_ = std::current_exception();
        }
        flight->landed_.set();
    }

 private:
    struct Seat {
        Seat(Flight& which, Note note)
            : flight(which), place(which.aboard_.insert(which.aboard_.end(), std::move(note))) {}
        ~Seat() {
            flight.aboard_.erase(place);
            if (flight.aboard_.empty() && !flight.landed_.is_set()) flight.deserted_.set();
        }
        Seat(const Seat&) = delete;
        Seat& operator=(const Seat&) = delete;
        Flight& flight;
        std::list<Note>::iterator place;
    };
    Event landed_, deserted_;
    std::list<Note> aboard_;
    std::optional<Result> result_;
    std::exception_ptr failure_;
};

}  // namespace lastcall::aws
