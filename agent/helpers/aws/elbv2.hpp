#pragma once
#include <memory>

#include "agent/helpers/aws/api.hpp"
#include "agent/helpers/aws/balancer.hpp"

namespace lastcall::aws {

/// Target groups of application and network load balancers.
///
/// Their word isn't enough: a target is shown as draining for the whole delay, even if nothing of
/// it is open any more (FACTS section 3). `gate` must be closed before this is gone.
std::unique_ptr<Balancer> elbv2(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
                                Http& http, InstanceMetadata& instance, const Surroundings& around);

}  // namespace lastcall::aws
