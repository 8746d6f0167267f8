#pragma once
#include <memory>
#include <string>

#include "agent/lb/helper.hpp"
#include "agent/lb/url.hpp"
#include "supervisor/load_balancer.hpp"

namespace lastcall {

/// One task's target in a load balancer that a helper program speaks to. All of one program share
/// the helper. While this lives a deregistration that was acknowledged is watched; one that wasn't
/// goes on without it.
std::shared_ptr<LoadBalancer> helper_target(std::shared_ptr<helper::Helper> helper,
                                            LoadBalancerUrl url, Clock& clock, Log& log);

}  // namespace lastcall
