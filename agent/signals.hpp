#pragma once
#include <sys/signalfd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <optional>

#include "agent/config/settings.hpp"
#include "supervisor/await.hpp"
#include "supervisor/stop_request.hpp"

namespace lastcall {

/// The process's signals, one after the other, by signalfd(2). They must be blocked
/// (take_over_signals), so none is lost and no disposition is touched: the command inherits those.
class Signals {
 public:
    explicit Signals(asio::any_io_executor executor);
    awaitable<signalfd_siginfo> next();

 private:
    asio::posix::stream_descriptor descriptor_;
};

/// DESIGN rule 5: what a signal to the agent asks for.
///
/// SIGTERM and the configured stop signal start a stop; a repetition joins it and changes nothing,
/// since orchestrators repeat themselves. SIGINT is a person's: a second one ends the drain, a
/// third kills; two within a second count as one.
class StopSignals {
 public:
    explicit StopSignals(std::optional<int> stop_signal) : stop_signal_(stop_signal) {}
    /// nullopt: the signal is none that starts or shortens a stop.
    std::optional<StopRequest> wish(int signal, const Requester& by, Clock::time_point now);

 private:
    StopRequest impatience(StopRequest request, Clock::time_point now);

    std::optional<int> stop_signal_;
    int interrupts_ = 0;
    std::optional<Clock::time_point> last_interrupt_;
};

/// Every signal there is, those that the C library keeps for itself too.
sigset_t all_signals();

/// What is delivered instead of `signal`; 0: nothing.
int delivered(const SignalMap& map, int signal);

/// Whether the command wants it: every signal but those that concern the agent alone.
bool is_forwardable(const signalfd_siginfo& signal);

}  // namespace lastcall
