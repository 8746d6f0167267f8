#include "agent/helpers/aws/classic.hpp"

#include <fmt/format.h>

#include "agent/helpers/aws/for_each_half.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {
namespace {

constexpr auto window = 20ms;
constexpr std::size_t most_instances = 200;
constexpr auto poll_interval = 1s, longest_look = 5s;
constexpr auto facts_life = 1min;

/// How AWS refuses a call for an instance that isn't there.
constexpr const char* unknown = "InvalidInstance";

}  // namespace

ClassicBalancer::ClassicBalancer(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
                                 std::string name)
    : clock_(clock),
      api_(api),
      name_(std::move(name)),
      asking_(gate, clock, executor, window, 10000,
              [this](std::vector<int>, Note note) { return ask_facts(std::move(note)); }),
      joining_(gate, clock, executor, window, most_instances,
               [this](Instances instances, Note note) {
                   return change("RegisterInstancesWithLoadBalancer", std::move(instances),
                                 std::move(note));
               }),
      leaving_(gate, clock, executor, window, most_instances,
               [this](Instances instances, Note note) {
                   return change("DeregisterInstancesFromLoadBalancer", std::move(instances),
                                 std::move(note));
               }),
      lookout_(
          gate, clock, executor, poll_interval, [&api] { return api.jitter(); },
          [this](Instances watched, Note note) {
              return look(std::move(watched), std::move(note));
          }) {}

awaitable<std::string> ClassicBalancer::call(Query query, Note note, Clock::duration at_most) {
    const auto deadline = after(clock_.now(), at_most);
    auto locating = api_.region();
    std::string region = co_await std::move(locating);
    auto calling =
        api_.call(elb_service, std::move(region), std::move(query), deadline, std::move(note));
    co_return co_await std::move(calling);
}

Query ClassicBalancer::query(const std::string& action, const Instances& instances) const {
    Query query(action, elb_version);
    query.add("LoadBalancerName", name_);
    for (std::size_t i = 0; i < instances.size(); ++i) {
        query.add(fmt::format("Instances.member.{}.InstanceId", i + 1), instances[i]);
    }
    return query;
}

awaitable<void> ClassicBalancer::join(std::string instance, Note note) {
    auto asking = joining_.ask(std::move(instance), std::move(note));
    co_await std::move(asking);
}

awaitable<void> ClassicBalancer::leave(std::string instance, Note note) {
    auto asking = leaving_.ask(std::move(instance), std::move(note));
    co_await std::move(asking);
}

awaitable<void> ClassicBalancer::until_gone(std::string instance, Note note) {
    return lookout_.until_gone(std::move(instance), std::move(note));
}

awaitable<bool> ClassicBalancer::change(std::string action, Instances instances, Note note) {
    const bool leaving = action.starts_with("Deregister");
    auto changing = for_each_half<std::string>(
        std::move(instances), {unknown, leaving},
        [&](Instances some) { return change_some(action, std::move(some), note); });
    co_await std::move(changing);
    co_return true;
}

awaitable<void> ClassicBalancer::change_some(std::string action, Instances instances, Note note) {
    auto calling = call(query(action, instances), std::move(note));
    const std::string body = co_await std::move(calling);
    read_empty(body, action);
}

awaitable<ClassicFacts> ClassicBalancer::facts(Note note) {
    if (facts_ && clock_.now() < facts_until_) co_return *facts_;
    auto asking = asking_.ask(0, std::move(note));
    co_return co_await std::move(asking);
}

awaitable<ClassicFacts> ClassicBalancer::ask_facts(Note note) {
    ClassicFacts facts;
    try {
        auto calling = call(query("DescribeLoadBalancerAttributes", {}), std::move(note));
        const std::string body = co_await std::move(calling);
        facts.draining = read_draining(body);
    } catch (const Failure& failure) {  // it can be done without
        if (!access_denied(failure)) throw;
        facts.warning = fmt::format("connection draining isn't known: {}", failure.what());
    }
    facts_ = facts;
    facts_until_ = after(clock_.now(), facts_life);
    co_return facts;
}

awaitable<std::set<std::string>> ClassicBalancer::look(Instances watched, Note note) {
    std::set<std::string> gone(watched.begin(), watched.end());
    auto looking = for_each_half<std::string>(
        std::move(watched), {unknown, true},
        [&](Instances some) { return look_at(std::move(some), gone, note); });
    try {
        co_await std::move(looking);
    } catch (const Failure& failure) {  // a load balancer that was deleted has no instances
        if (failure.code() != "LoadBalancerNotFound") throw;
    }
    co_return gone;
}

awaitable<void> ClassicBalancer::look_at(Instances some, std::set<std::string>& gone, Note note) {
    // By name: whether a list of all has those that drain isn't documented.
    auto calling = call(query("DescribeInstanceHealth", some), std::move(note), longest_look);
    const std::string body = co_await std::move(calling);
    for (const auto& each : read_instance_health(body)) {
        if (!each.gone()) gone.erase(each.id);
    }
}

}  // namespace lastcall::aws
