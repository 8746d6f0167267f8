#pragma once
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "supervisor/connections.hpp"
#include "supervisor/limits.hpp"
#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"
#include "supervisor/recorder.hpp"

namespace lastcall {

/// One load balancer's part in a drain: what it said, and since when nobody is inside.
struct Watch {
    Membership membership;
    DrainMode mode = DrainMode::closed;
    bool registered = true;  ///< we have registered it, or it doesn't want that
    bool acknowledged = false;
    bool may_retry = true;
    int attempts = 0;
    std::string error;  ///< why it isn't acknowledged, or why it doesn't report
    std::optional<TargetReport> report;
    std::optional<Clock::time_point> silent_since;  ///< it has stopped reporting
    /// If deregistration failed: new connections won't stop coming, these are waited for.
    std::optional<std::set<std::uint64_t>> open_at_failure;
    std::optional<Clock::time_point> zero_since, first_zero;
};

/// The open connections that `mode` waits for: all, or with `idle` those that aren't at rest.
std::int64_t waited_for(const std::vector<Connection>& open, DrainMode mode, Clock::duration idle);

/// DESIGN section 1's table: whether this load balancer is satisfied at `now`, when the kernel
/// shows `seen`. Keeps the watch's settle times.
bool satisfied(Watch& watch, const std::optional<std::vector<Connection>>& seen,
               Clock::time_point now, Clock::duration idle);

/// A task leaves its load balancers: DEREGISTER and DRAIN, the one loop for every kind of load
/// balancer. One may be broken, slow or lying: what it throws ends here, and costs at most its
/// timeouts.
class Leaving {
 public:
    struct Scene {
        asio::any_io_executor executor;
        Clock& clock;
        Log& log;
        Recorder& recorder;
        StopLimits& limits;
        Evidence& evidence;
        Event& gone;  ///< the task exited by itself
        const StopSettings& settings;
    };
    Leaving(Scene scene, std::vector<Watch> watches);

    /// Tells every load balancer, side by side. Never throws.
    awaitable<void> deregister();
    /// Waits until all are satisfied, or a limit, or the task is gone. Never throws.
    awaitable<void> drain();
    /// One last attempt, of 2 s at most, for those that haven't acknowledged and still might.
    awaitable<void> deregister_late();
    /// Goes on asking from here until `close`: a reload must not bring a dying task back.
    void keep_asking();
    awaitable<void> close();

    std::optional<std::int64_t> connections() const { return left_; }
    std::string waiting_for() const;

 private:
    awaitable<void> deregister(Watch& watch);
    awaitable<bool> told(Watch& watch, Clock::time_point until);
    awaitable<bool> attempt(Watch& watch, Clock::time_point until);
    awaitable<void> task_gone_for(Clock::duration grace);
    awaitable<void> ask(Watch& watch);
    awaitable<bool> all_satisfied(std::size_t phase);
    void look(std::size_t phase, const std::optional<std::vector<Connection>>& seen);
    std::optional<std::int64_t> still_waited_for(
        const std::optional<std::vector<Connection>>& seen) const;
    void explain_rest(std::size_t phase);
    std::optional<std::vector<Connection>> evidence();
    Clock::duration backoff(int attempt);

    Scene scene_;
    std::vector<Watch> watches_;
    std::vector<Watch*> unsatisfied_;
    Bell news_;
    Gate asking_;
    std::minstd_rand random_;
    std::set<std::uint64_t> known_;  ///< cookies seen since the drain began
    std::optional<std::int64_t> left_;
    std::optional<std::vector<Connection>> last_seen_;
    std::int64_t arrived_ = 0, peak_ = 0;
    bool draining_ = false, looked_ = false, blind_said_ = false;
};

}  // namespace lastcall
