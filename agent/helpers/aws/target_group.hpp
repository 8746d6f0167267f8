#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/helpers/aws/api.hpp"
#include "agent/helpers/aws/balancer.hpp"
#include "agent/helpers/aws/lookout.hpp"
#include "agent/helpers/aws/reply.hpp"
#include "agent/helpers/aws/together.hpp"

namespace lastcall::aws {

/// A target as its group knows it. Without a port: at the group's own, when registered.
struct Target {
    std::string id;
    std::optional<std::uint16_t> port;
    friend auto operator<=>(const Target&, const Target&) = default;
    std::string text() const;  ///< "10.0.0.5:8080"
};

/// What AWS says about a group; what it wouldn't tell is empty, and in `warning`.
struct GroupFacts {
    std::string protocol;
    std::string type;  ///< "instance", "ip"
    std::optional<std::uint32_t> delay;
    std::string warning;
};

/// One target group, for all its targets: what several ask for at about the same time is one call.
class TargetGroup {
 public:
    /// `gate` must be closed before this is gone.
    TargetGroup(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api, std::string arn,
                std::string region);

    // All throw Failure.
    /// Asked for again after a minute.
    awaitable<GroupFacts> facts(Note note);
    awaitable<void> join(Target target, Note note);
    awaitable<void> leave(Target target, Note note);
    awaitable<void> until_gone(Target target, Note note);
    /// All targets of the group.
    awaitable<std::vector<TargetHealth>> health(Note note);

 private:
    using Targets = std::vector<Target>;
    awaitable<std::string> call(Query query, Note note, Clock::duration at_most = 10min);
    /// RegisterTargets, DeregisterTargets.
    awaitable<bool> change(std::string action, Targets targets, Note note);
    awaitable<void> change_some(std::string action, Targets targets, Note note);
    awaitable<GroupFacts> ask_facts(Note note);
    awaitable<void> ask_group(GroupFacts& facts, Note note);
    awaitable<void> ask_attributes(GroupFacts& facts, Note note);
    awaitable<std::set<Target>> look(Targets watched, Note note);

    Clock& clock_;
    Api& api_;
    std::string arn_;
    std::string region_;
    std::optional<GroupFacts> facts_;
    Clock::time_point facts_until_;
    Together<int, GroupFacts> asking_;
    Together<Target, bool> joining_;
    Together<Target, bool> leaving_;
    Lookout<Target> lookout_;
};

}  // namespace lastcall::aws
