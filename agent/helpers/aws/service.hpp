#pragma once
#include <string>

#include "agent/helpers/aws/profile.hpp"
#include "agent/helpers/aws/surroundings.hpp"

namespace lastcall::aws {

/// One of AWS's services, as it is called where it is called something.
struct Service {
    const char* name;    ///< in host names and signatures
    const char* config;  ///< in the shared files; in capitals after AWS_ENDPOINT_URL_
};

inline constexpr Service elbv2_service{"elasticloadbalancing", "elastic_load_balancing_v2"};
inline constexpr Service elb_service{"elasticloadbalancing", "elastic_load_balancing"};
inline constexpr Service auto_scaling_service{"autoscaling", "auto_scaling"};

/// Where a service is asked, as AWS's own tools find it: AWS_ENDPOINT_URL_SERVICE,
/// AWS_ENDPOINT_URL, the profile's `endpoint_url`, else the region's own host. Ends with "/".
/// Throws Failure if what is configured is no http or https URL.
std::string endpoint(const Service& service, const std::string& region, const Surroundings& around,
                     const Profile& profile);

/// Whether this can be a region's name: it becomes part of a host name.
bool is_region(const std::string& name);

}  // namespace lastcall::aws
