#include "agent/helpers/aws/reply.hpp"

#include <fmt/format.h>

#include <charconv>
#include <pugixml.hpp>

#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/failure.hpp"

namespace lastcall::aws {
namespace {

// Entities and CDATA, and nothing that makes one document refer to more than itself: a DOCTYPE is
// skipped, never read. pugixml neither recurses when it parses nor when it frees.
constexpr unsigned how =
    pugi::parse_minimal | pugi::parse_escapes | pugi::parse_cdata | pugi::parse_trim_pcdata;

/// A reply of that action; its root is `ActionResponse`.
class Reply {
 public:
    Reply(std::string_view body, const std::string& action) {
        const auto parsed =
            document_.load_buffer(body.data(), body.size(), how, pugi::encoding_utf8);
        const std::string expected = action + "Response";
        if (!parsed) refuse(fmt::format("no XML ({})", parsed.description()), body);
        const std::string name = root().name();
        if (name == expected) return;
        refuse(fmt::format("<{}>, expected <{}>", excerpt(name), expected), body);
    }
    pugi::xml_node result(const char* name) const { return root().child(name); }
    /// A list must be there, if only an empty one: who isn't in it has left.
    pugi::xml_node list(const char* of, const char* name) const {
        const auto found = result(of).child(name);
        if (!found) refuse(fmt::format("without <{}>", name), root().name());
        return found;
    }
    [[noreturn]] static void refuse(const std::string& what, std::string_view body) {
        throw Failure(fmt::format("the reply is {}: {}", what, quoted(body)), true);
    }

 private:
    pugi::xml_node root() const { return document_.document_element(); }
    pugi::xml_document document_;
};

std::string text(pugi::xml_node node, const char* name) { return node.child_value(name); }

std::string needed(pugi::xml_node node, const char* name) {
    std::string found = text(node, name);
    if (found.empty()) Reply::refuse(fmt::format("without <{}> in", name), "<member>");
    return found;
}

template <class Number>
std::optional<Number> number(const std::string& digits) {
    Number value{};
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc{} || stop != end) return std::nullopt;
    return value;
}

template <class Read>
void each_member(pugi::xml_node list, Read read) {
    for (const auto& member : list.children("member")) read(member);
}

}  // namespace

std::optional<ErrorReply> error_reply(std::string_view body) {
    pugi::xml_document document;
    if (!document.load_buffer(body.data(), body.size(), how, pugi::encoding_utf8)) return {};
    const auto root = document.document_element();
    if (std::string_view(root.name()) != "ErrorResponse") return {};
    const auto error = root.child("Error");
    ErrorReply reply{text(error, "Code"), text(error, "Message")};
    if (reply.code.empty()) return {};
    return reply;
}

bool TargetHealth::gone() const { return state == "unused"; }

bool InstanceHealth::gone() const {
    return state == "OutOfService" &&
           description.find("not currently registered") != std::string::npos;
}

void read_empty(std::string_view body, const std::string& action) { Reply(body, action); }

TargetGroupReply read_target_group(std::string_view body) {
    const Reply reply(body, "DescribeTargetGroups");
    const auto group =
        reply.result("DescribeTargetGroupsResult").child("TargetGroups").child("member");
    return {text(group, "Protocol"), text(group, "TargetType")};
}

std::optional<std::uint32_t> read_deregistration_delay(std::string_view body) {
    const Reply reply(body, "DescribeTargetGroupAttributes");
    std::optional<std::uint32_t> delay;
    each_member(reply.result("DescribeTargetGroupAttributesResult").child("Attributes"),
                [&](pugi::xml_node attribute) {
                    if (text(attribute, "Key") == "deregistration_delay.timeout_seconds") {
                        delay = number<std::uint32_t>(text(attribute, "Value"));
                    }
                });
    return delay;
}

std::vector<TargetHealth> read_target_health(std::string_view body) {
    const Reply reply(body, "DescribeTargetHealth");
    std::vector<TargetHealth> all;
    each_member(reply.list("DescribeTargetHealthResult", "TargetHealthDescriptions"),
                [&](pugi::xml_node member) {
                    const auto target = member.child("Target");
                    all.push_back({.id = needed(target, "Id"),
                                   .port = number<std::uint16_t>(text(target, "Port")),
                                   .state = needed(member.child("TargetHealth"), "State")});
                });
    return all;
}

DrainingReply read_draining(std::string_view body) {
    const Reply reply(body, "DescribeLoadBalancerAttributes");
    const auto draining = reply.result("DescribeLoadBalancerAttributesResult")
                              .child("LoadBalancerAttributes")
                              .child("ConnectionDraining");
    return {text(draining, "Enabled") == "true",
            number<std::uint32_t>(text(draining, "Timeout")).value_or(0)};
}

std::vector<InstanceHealth> read_instance_health(std::string_view body) {
    const Reply reply(body, "DescribeInstanceHealth");
    std::vector<InstanceHealth> all;
    each_member(reply.list("DescribeInstanceHealthResult", "InstanceStates"),
                [&](pugi::xml_node member) {
                    all.push_back({needed(member, "InstanceId"), needed(member, "State"),
                                   text(member, "Description")});
                });
    return all;
}

std::optional<std::uint32_t> read_heartbeat_timeout(std::string_view body,
                                                    const std::string& hook) {
    const Reply reply(body, "DescribeLifecycleHooks");
    std::optional<std::uint32_t> timeout;
    each_member(reply.result("DescribeLifecycleHooksResult").child("LifecycleHooks"),
                [&](pugi::xml_node member) {
                    if (text(member, "LifecycleHookName") == hook) {
                        timeout = number<std::uint32_t>(text(member, "HeartbeatTimeout"));
                    }
                });
    return timeout;
}

}  // namespace lastcall::aws
