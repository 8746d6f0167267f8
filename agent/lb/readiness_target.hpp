#pragma once
#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/lb/readiness.hpp"
#include "supervisor/await.hpp"

namespace lastcall {

/// How a target is asked for.
enum class ProbeKind : std::size_t { http, agent_check };

/// One target as those who probe it see it: what they are told, and what they have heard.
class ReadinessTarget {
 public:
    /// An answer to one probe.
    struct Word {
        TargetState state;
        unsigned round;  ///< which registration it belongs to
    };

    explicit ReadinessTarget(asio::any_io_executor executor) : executor_(std::move(executor)) {}

    void become_healthy();
    void become_draining() { state_ = TargetState::draining; }
    TargetState state() const { return state_; }
    /// Returns when every kind of probe that may have seen it healthy has heard often enough that
    /// it isn't.
    awaitable<void> known();

    /// What to tell a probe now. That all is well counts as heard from here on.
    Word ask(ProbeKind kind);
    /// Somebody has heard from an agent before us that all is well.
    void heard_healthy(ProbeKind kind) { ears_[static_cast<std::size_t>(kind)].healthy = true; }
    /// The answer has left, or arrived: bad news counts now.
    void heard(ProbeKind kind, Word word);

    ReadinessLoadBalancer::Failure failure;

 private:
    struct Ears {
        bool healthy = false;   ///< somebody may have heard that all is well
        unsigned failures = 0;  ///< answers since then that said no
    };
    bool enough() const;

    asio::any_io_executor executor_;
    TargetState state_ = TargetState::initial;
    unsigned round_ = 0;
    std::array<Ears, 2> ears_;      ///< by kind
    std::shared_ptr<Event> known_;  ///< whoever waits for it owns it too
};

/// Owned by the client and by its listeners, whose last connections may outlive it. None leaves.
using ReadinessTargets = std::map<std::string, ReadinessTarget, std::less<>>;

}  // namespace lastcall
