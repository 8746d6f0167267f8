#include "agent/helpers/aws/target_group.hpp"

#include <fmt/format.h>

#include "agent/helpers/aws/for_each_half.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {
namespace {

constexpr auto window = 20ms;
// As AWS's own controller for Kubernetes does it.
constexpr std::size_t most_targets = 200;
constexpr auto poll_interval = 5s;
constexpr auto facts_life = 1min;

std::string not_told(const std::string& what, const Failure& failure) {
    return fmt::format("{} isn't known: {}", what, failure.what());
}

}  // namespace

std::string Target::text() const {
    if (!port) return id;
    return id.find(':') == std::string::npos ? fmt::format("{}:{}", id, *port)
                                             : fmt::format("[{}]:{}", id, *port);
}

TargetGroup::TargetGroup(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
                         std::string arn, std::string region)
    : clock_(clock),
      api_(api),
      arn_(std::move(arn)),
      region_(std::move(region)),
      asking_(gate, clock, executor, window, 10000,
              [this](std::vector<int>, Note note) { return ask_facts(std::move(note)); }),
      joining_(gate, clock, executor, window, most_targets,
               [this](Targets targets, Note note) {
                   return change("RegisterTargets", std::move(targets), std::move(note));
               }),
      leaving_(gate, clock, executor, window, most_targets,
               [this](Targets targets, Note note) {
                   return change("DeregisterTargets", std::move(targets), std::move(note));
               }),
      lookout_(
          gate, clock, executor, poll_interval, [&api] { return api.jitter(); },
          [this](Targets watched, Note note) {
              return look(std::move(watched), std::move(note));
          }) {}

awaitable<std::string> TargetGroup::call(Query query, Note note, Clock::duration at_most) {
    return api_.call(elbv2_service, region_, std::move(query), after(clock_.now(), at_most),
                     std::move(note));
}

awaitable<void> TargetGroup::join(Target target, Note note) {
    auto asking = joining_.ask(std::move(target), std::move(note));
    co_await std::move(asking);
}

awaitable<void> TargetGroup::leave(Target target, Note note) {
    auto asking = leaving_.ask(std::move(target), std::move(note));
    co_await std::move(asking);
}

awaitable<void> TargetGroup::until_gone(Target target, Note note) {
    return lookout_.until_gone(std::move(target), std::move(note));
}

awaitable<bool> TargetGroup::change(std::string action, Targets targets, Note note) {
    const bool leaving = action.starts_with("Deregister");
    auto changing = for_each_half<Target>(
        std::move(targets), {"InvalidTarget", leaving},
        [&](Targets some) { return change_some(action, std::move(some), note); });
    co_await std::move(changing);
    co_return true;
}

awaitable<void> TargetGroup::change_some(std::string action, Targets targets, Note note) {
    Query query(action, elbv2_version);
    query.add("TargetGroupArn", arn_);
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const std::string member = fmt::format("Targets.member.{}.", i + 1);
        query.add(member + "Id", targets[i].id);
        if (targets[i].port) query.add(member + "Port", fmt::format("{}", *targets[i].port));
    }
    auto calling = call(std::move(query), std::move(note));
    const std::string body = co_await std::move(calling);
    read_empty(body, action);
}

awaitable<GroupFacts> TargetGroup::facts(Note note) {
    if (facts_ && clock_.now() < facts_until_) co_return *facts_;
    auto asking = asking_.ask(0, std::move(note));
    co_return co_await std::move(asking);
}

awaitable<GroupFacts> TargetGroup::ask_facts(Note note) {
    GroupFacts facts;
    std::vector<awaitable<void>> both;
    both.push_back(ask_group(facts, note));
    both.push_back(ask_attributes(facts, note));
    auto asking = all(std::move(both));
    co_await std::move(asking);
    facts_ = facts;
    facts_until_ = after(clock_.now(), facts_life);
    co_return facts;
}

awaitable<void> TargetGroup::ask_group(GroupFacts& facts, Note note) {
    Query query("DescribeTargetGroups", elbv2_version);
    query.add("TargetGroupArns.member.1", arn_);
    try {
        auto calling = call(std::move(query), std::move(note));
        const std::string body = co_await std::move(calling);
        const TargetGroupReply reply = read_target_group(body);
        facts.protocol = reply.protocol;
        facts.type = reply.target_type;
    } catch (const Failure& failure) {  // it can be done without
        if (!access_denied(failure)) throw;
        facts.warning += (facts.warning.empty() ? "" : "; ") + not_told("the protocol", failure);
    }
}

awaitable<void> TargetGroup::ask_attributes(GroupFacts& facts, Note note) {
    Query query("DescribeTargetGroupAttributes", elbv2_version);
    query.add("TargetGroupArn", arn_);
    try {
        auto calling = call(std::move(query), std::move(note));
        const std::string body = co_await std::move(calling);
        facts.delay = read_deregistration_delay(body);
    } catch (const Failure& failure) {  // it can be done without
        if (!access_denied(failure)) throw;
        facts.warning +=
            (facts.warning.empty() ? "" : "; ") + not_told("the deregistration delay", failure);
    }
}

awaitable<std::vector<TargetHealth>> TargetGroup::health(Note note) {
    Query query("DescribeTargetHealth", elbv2_version);
    query.add("TargetGroupArn", arn_);
    auto calling = call(std::move(query), std::move(note));
    const std::string body = co_await std::move(calling);
    co_return read_target_health(body);
}

awaitable<std::set<Target>> TargetGroup::look(Targets watched, Note note) {
    std::set<Target> gone(watched.begin(), watched.end());
    Query query("DescribeTargetHealth", elbv2_version);
    query.add("TargetGroupArn", arn_);
    std::vector<TargetHealth> there;
    try {
        auto calling = call(std::move(query), std::move(note), poll_interval);
        const std::string body = co_await std::move(calling);
        there = read_target_health(body);
    } catch (const Failure& failure) {  // a group that was deleted has no targets
        if (failure.code() != "TargetGroupNotFound") throw;
    }
    for (const auto& each : there) {
        if (each.gone()) continue;
        gone.erase({each.id, each.port});
        gone.erase({each.id, std::nullopt});
    }
    co_return gone;
}

}  // namespace lastcall::aws
