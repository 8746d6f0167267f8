#pragma once
#include <list>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "supervisor/connections.hpp"
#include "supervisor/limits.hpp"
#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"
#include "supervisor/occupancy.hpp"
#include "supervisor/recorder.hpp"
#include "supervisor/watch.hpp"

namespace lastcall {

/// A task leaves its load balancers: DEREGISTER (deregister.cpp) and DRAIN (drain.cpp), the one
/// loop for every kind of load balancer. One may be broken, slow or lying: what it throws ends
/// here, and costs at most its timeouts.
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

    /// Left now, of those that are waited for.
    std::optional<std::int64_t> connections() const;
    std::optional<std::int64_t> open() const;  ///< all that the kernel shows
    std::string waiting_for() const;

 private:
    awaitable<void> deregister(Watch& watch);
    awaitable<void> get_to_know(Watch& watch);
    awaitable<bool> told(Watch& watch, Clock::time_point until);
    awaitable<bool> attempt(Watch& watch, Clock::time_point until);
    void note_who_is_open(Watch& watch);
    void take_over(Watch& watch);
    awaitable<void> task_gone_for(Clock::duration grace);
    Clock::duration backoff(int attempt);

    awaitable<void> ask(Watch& watch, Bell& now);
    awaitable<bool> report(Watch& watch);
    void hear_the_kernel();
    void deaf(std::exception_ptr error);
    awaitable<void> hear();
    awaitable<void> until_drained();
    enum class Ended { by_all, by_exit, by_limit };
    awaitable<Ended> end_of_waiting();
    awaitable<void> ring_after(awaitable<void> event);
    bool verdict();
    bool is_certain();
    Clock::time_point next_moment() const;
    void look();
    void saw_somebody_new();
    std::optional<Connections> evidence();
    void account(std::size_t phase);
    void explain(std::size_t phase);

    Scene scene_;
    std::vector<Watch> watches_;
    std::vector<Watch*> unsatisfied_;
    std::vector<Watch*> settling_;  ///< whose settle time began at the last verdict
    Occupancy occupancy_;
    Bell news_;                  ///< a load balancer or the kernel said something
    std::list<Bell> asked_now_;  ///< one for each load balancer that is asked
    Gate asking_;
    std::minstd_rand random_;
    bool heard_ = false, draining_ = false, drained_ = false;
    std::string trouble_said_;
};

}  // namespace lastcall
