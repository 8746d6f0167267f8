#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lastcall::aws {

/// What the Query API answers when it refuses:
/// `<ErrorResponse><Error><Code/><Message/></Error></ErrorResponse>`.
struct ErrorReply {
    std::string code;
    std::string message;
};

/// nullopt if `body` is no such document.
std::optional<ErrorReply> error_reply(std::string_view body);

/// DescribeTargetGroups, of one group.
struct TargetGroupReply {
    std::string protocol;     ///< HTTP, HTTPS, TCP, TLS, UDP, TCP_UDP, GENEVE
    std::string target_type;  ///< instance, ip, lambda, alb
};

/// One line of DescribeTargetHealth.
struct TargetHealth {
    std::string id;
    std::optional<std::uint16_t> port;
    std::string state;  ///< initial, healthy, unhealthy, unhealthy.draining, draining, unused, …
    /// It isn't registered any more, or not in use.
    bool gone() const;
};

/// One line of DescribeInstanceHealth.
struct InstanceHealth {
    std::string id;
    std::string state;  ///< InService, OutOfService, Unknown
    std::string description;
    /// It isn't registered any more, and nothing of it is in flight.
    bool gone() const;
};

/// DescribeLoadBalancerAttributes, what concerns draining.
struct DrainingReply {
    bool enabled = false;
    std::uint32_t seconds = 0;
};

// Each of these reads a whole reply. They throw Failure, to be retried, which names what came
// instead: no XML, a part of it, or somebody else's document.

/// Any reply of which only the name matters: "DeregisterTargetsResponse".
void read_empty(std::string_view body, const std::string& action);
TargetGroupReply read_target_group(std::string_view body);
/// `deregistration_delay.timeout_seconds`; nullopt if it isn't there.
std::optional<std::uint32_t> read_deregistration_delay(std::string_view body);
std::vector<TargetHealth> read_target_health(std::string_view body);
DrainingReply read_draining(std::string_view body);
std::vector<InstanceHealth> read_instance_health(std::string_view body);
/// DescribeLifecycleHooks: HeartbeatTimeout of that hook in seconds; nullopt if it isn't listed.
std::optional<std::uint32_t> read_heartbeat_timeout(std::string_view body, const std::string& hook);

}  // namespace lastcall::aws
