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
#include "supervisor/watch.hpp"

namespace lastcall {

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
