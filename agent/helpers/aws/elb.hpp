#pragma once
#include <memory>

#include "agent/helpers/aws/api.hpp"
#include "agent/helpers/aws/balancer.hpp"

namespace lastcall::aws {

/// Classic load balancers. Their word is enough: an instance is InService until nothing of it is in
/// flight (FACTS section 3). `gate` must be closed before this is gone.
std::unique_ptr<Balancer> elb(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
                              InstanceMetadata& instance);

}  // namespace lastcall::aws
