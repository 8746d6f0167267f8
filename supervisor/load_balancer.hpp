#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "supervisor/clock.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// ELBv2's words (API_TargetHealth, `State`) for every kind of load balancer.
enum class TargetState { initial, healthy, unhealthy, draining, unused };

/// What a load balancer says of one target.
struct TargetReport {
    TargetState state = TargetState::initial;
    std::optional<std::int64_t> connections;  ///< left there, if it knows
    std::optional<std::uint16_t> port;        ///< the target's own port, if it knows
    /// When asking again is worth it before the usual interval: it waits for time to pass.
    std::optional<Clock::duration> again;
    bool partial = false;  ///< a reload hid what was in flight: its word alone isn't enough now
};

/// A load balancer refused, or can't be reached. The text starts with "cannot".
class LoadBalancerError : public std::runtime_error {
 public:
    LoadBalancerError(const std::string& what, bool retry)
        : std::runtime_error(what), retry_(retry) {}
    /// Whether the same request may succeed later. "No such server." won't mend itself.
    bool retry() const { return retry_; }

 private:
    bool retry_;
};

struct Membership;

/// Where a task's traffic comes from. An interface, because there are many kinds and tests need
/// one more. One object serves every task behind the same load balancer; `target` is what that
/// load balancer calls the task ("web/web1").
///
/// Every verb may throw LoadBalancerError, may be cancelled at any await, and may be repeated: all
/// are idempotent. None has a loop that waits for the drain: the one drain loop asks.
class LoadBalancer {
 public:
    virtual ~LoadBalancer() = default;
    /// Before the task starts, or when somebody takes it over: whether the load balancer would do
    /// what will be asked, and what only it knows, filled in where the URL left it open.
    virtual awaitable<void> introduce(Membership& membership);
    /// Send it traffic from now on. Called when the task's ports are listened on.
    virtual awaitable<void> register_target(const std::string& target) = 0;
    /// Send it nothing new. Returns when the load balancer has acknowledged.
    virtual awaitable<void> deregister(const std::string& target) = 0;
    /// An agent before us had registered the target (`healthy`), or deregistered it or was about to
    /// (`draining`), and this client knows nothing of it. What lived in that agent is made so
    /// again; nobody else is told. Never waits.
    virtual void take_over(const std::string& target, TargetState as) {
        static_cast<void>(target), static_cast<void>(as);
    }
    /// Before `deregister`: how it is. After it: `draining` until no request of ours is in flight,
    /// then `unused`; restores a deregistration that the load balancer has forgotten.
    virtual awaitable<TargetReport> state_of(const std::string& target) = 0;
    /// What it said last of a request that isn't answered yet, for people; empty: nothing.
    virtual std::string last_word(const std::string&) const { return {}; }
};

/// One task's place behind one load balancer: a URL of AGENT_LOAD_BALANCERS, understood.
struct Membership {
    std::string url;  ///< as configured, without secrets
    std::shared_ptr<LoadBalancer> load_balancer;
    std::string target;
    bool knows = false;     ///< its report of "no connection left" can be had and is enough
    bool registers = true;  ///< we register on start (`register=`)
    std::optional<DrainMode> drain;     ///< `drain=`: wins over the task's
    std::optional<std::uint16_t> port;  ///< `port=`: whose connections count
    Clock::duration timeout = 5s;       ///< one request (`timeout=`)
    Clock::duration settle = 100ms;     ///< how long zero must stay zero (`settle=`)
    Clock::duration poll = 50ms;        ///< between two questions while draining
    /// Its own deregistration delay, if it has one: the default of ours.
    std::optional<Clock::duration> delay;
};

std::string_view to_string(TargetState state);

}  // namespace lastcall
