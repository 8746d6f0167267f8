#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace lastcall::aws {

/// One URL of a request, understood.
struct TargetUrl {
    std::string text;                   ///< as it came
    std::string scheme;                 ///< "elbv2", "elb"
    std::string arn;                    ///< elbv2: of the target group
    std::string region;                 ///< elbv2: the ARN's
    std::string name;                   ///< of the target group, or of the classic load balancer
    std::string id;                     ///< of the target or instance; empty: to be found
    std::optional<std::uint16_t> port;  ///< elbv2
};

/// Throws Failure, not to be retried, that names the URL, the value, and what was expected.
TargetUrl parse_target_url(const std::string& text);

}  // namespace lastcall::aws
