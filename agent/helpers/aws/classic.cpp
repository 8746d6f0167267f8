#include "agent/helpers/aws/classic.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "supervisor/await.hpp"

namespace lastcall::aws {
namespace {

constexpr auto window = 20ms;
constexpr std::size_t most_instances = 200;
constexpr auto poll_interval = 1s, longest_look = 5s;
constexpr auto facts_life = 1min;

/// AWS refuses the whole call for one instance of it.
bool about_one_instance(const Failure& failure) {
    return failure.code() == "InvalidInstance" || failure.code() == "ValidationError";
}

struct Halves {
    std::vector<std::string> first, second;
    explicit Halves(const std::vector<std::string>& all) {
        const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
        first.assign(all.begin(), middle);
        second.assign(middle, all.end());
    }
};

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
    std::sort(instances.begin(), instances.end());
    instances.erase(std::unique(instances.begin(), instances.end()), instances.end());
    try {
        auto calling = call(query(action, instances), note);
        const std::string body = co_await std::move(calling);
        read_empty(body, action);
        co_return true;
    } catch (const Failure& failure) {  // one bad instance must not be everybody's trouble
        const bool not_there =
            failure.code() == "InvalidInstance" && action.starts_with("Deregister");
        if (instances.size() == 1 && not_there) co_return true;
        if (instances.size() == 1 || !about_one_instance(failure)) throw;
    }
    auto halving = change_halves(std::move(action), std::move(instances), std::move(note));
    co_return co_await std::move(halving);
}

awaitable<bool> ClassicBalancer::change_halves(std::string action, Instances instances, Note note) {
    const Halves halves(instances);
    std::exception_ptr failure;
    for (const Instances& half : {halves.first, halves.second}) {
        try {
            auto changing = change(action, half, note);
            co_await std::move(changing);
        } catch (const Failure&) {  // the other half first
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
    co_return true;
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
    // By name: whether a list of all has those that drain isn't documented.
    std::set<std::string> gone(watched.begin(), watched.end());
    try {
        auto calling = call(query("DescribeInstanceHealth", watched), note, longest_look);
        const std::string body = co_await std::move(calling);
        for (const auto& each : read_instance_health(body)) {
            if (!each.gone()) gone.erase(each.id);
        }
        co_return gone;
    } catch (const Failure& failure) {  // who isn't known, or whose load balancer isn't, has left
        if (failure.code() == "LoadBalancerNotFound") co_return gone;
        if (failure.code() != "InvalidInstance") throw;
        if (watched.size() == 1) co_return gone;
    }
    auto halving = look_halves(std::move(watched), std::move(note));
    co_return co_await std::move(halving);
}

awaitable<std::set<std::string>> ClassicBalancer::look_halves(Instances watched, Note note) {
    const Halves halves(watched);
    auto looking = look(halves.first, note);
    std::set<std::string> gone = co_await std::move(looking);
    auto other = look(halves.second, std::move(note));
    gone.merge(co_await std::move(other));
    co_return gone;
}

}  // namespace lastcall::aws
