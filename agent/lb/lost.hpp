#pragma once
#include <memory>
#include <string>

#include "supervisor/load_balancer.hpp"

namespace lastcall {

/// Stands where a load balancer was that the agent before us could speak to and we can't (its
/// helper program is gone, say). It refuses everything, and never will do otherwise: `why`.
std::shared_ptr<LoadBalancer> lost_load_balancer(std::string why);

}  // namespace lastcall
