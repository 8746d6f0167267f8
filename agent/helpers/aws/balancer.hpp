#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "agent/helpers/aws/failure.hpp"
#include "agent/helpers/aws/target_url.hpp"
#include "supervisor/clock.hpp"

namespace lastcall::aws {

/// The answer to a `check` (docs/helper-protocol.md).
struct Known {
    bool knows = false;
    std::optional<Clock::duration> settle;
    std::optional<Clock::duration> delay;
    std::optional<std::uint16_t> port;
    std::string target;
    std::string warning;  ///< empty: none
};

/// One of AWS's kinds of load balancers. An interface, because there are two. All throw Failure.
class Balancer {
 public:
    virtual ~Balancer() = default;
    virtual awaitable<Known> check(TargetUrl url, Note note) = 0;
    virtual awaitable<void> register_target(TargetUrl url, Note note) = 0;
    /// Calls `taken` when AWS has acknowledged; returns when the target has left for good.
    virtual awaitable<void> deregister(TargetUrl url, Note note, std::function<void()> taken) = 0;
};

/// A refusal for lack of permission.
inline bool access_denied(const Failure& failure) {
    const std::string& code = failure.code();
    return code == "AccessDenied" || code == "AccessDeniedException" ||
           code == "UnauthorizedOperation";
}

}  // namespace lastcall::aws
