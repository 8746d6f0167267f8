#include "agent/helpers/aws/elb.hpp"

#include <fmt/format.h>

#include <map>

#include "agent/helpers/aws/classic.hpp"

namespace lastcall::aws {
namespace {

class Elb final : public Balancer {
 public:
    Elb(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
        InstanceMetadata& instance)
        : gate_(gate),
          clock_(clock),
          executor_(std::move(executor)),
          api_(api),
          instance_(instance) {}

    awaitable<Known> check(TargetUrl url, Note note) override {
        auto asking = balancer(url.name).facts(note);
        const ClassicFacts facts = co_await std::move(asking);
        auto finding = find_instance(url);
        const std::string instance = co_await std::move(finding);
        Known known{.knows = true};
        known.target = fmt::format("{} in load balancer {}", instance, url.name);
        known.warning = facts.warning;
        if (facts.draining) {
            known.delay =
                std::chrono::seconds(facts.draining->enabled ? facts.draining->seconds : 0);
        }
        co_return known;
    }

    awaitable<void> register_target(TargetUrl url, Note note) override {
        auto finding = find_instance(url);
        std::string instance = co_await std::move(finding);
        auto joining = balancer(url.name).join(std::move(instance), std::move(note));
        co_await std::move(joining);
    }

    awaitable<void> deregister(TargetUrl url, Note note, std::function<void()> taken) override {
        ClassicBalancer& its = balancer(url.name);
        auto finding = find_instance(url);
        const std::string instance = co_await std::move(finding);
        auto leaving = its.leave(instance, note);
        co_await std::move(leaving);
        taken();
        bool at_once = false;
        try {
            auto asking = its.facts(note);
            const ClassicFacts facts = co_await std::move(asking);
            at_once = facts.draining && !facts.draining->enabled;
        } catch (const Failure& failure) {  // its health tells in the end
            note(failure.what());
        }
        if (at_once) co_return;
        auto waiting = its.until_gone(instance, std::move(note));
        co_await std::move(waiting);
    }

 private:
    ClassicBalancer& balancer(const std::string& name) {
        auto& place = balancers_[name];
        if (!place) {
            place = std::make_unique<ClassicBalancer>(gate_, clock_, executor_, api_, name);
        }
        return *place;
    }

    awaitable<std::string> find_instance(TargetUrl url) {
        if (!url.id.empty()) co_return url.id;
        auto reading = instance_.instance_id_or("instance-id");
        co_return co_await std::move(reading);
    }

    Gate& gate_;
    Clock& clock_;
    asio::any_io_executor executor_;
    Api& api_;
    InstanceMetadata& instance_;
    std::map<std::string, std::unique_ptr<ClassicBalancer>> balancers_;
};

}  // namespace

std::unique_ptr<Balancer> elb(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
                              InstanceMetadata& instance) {
    return std::make_unique<Elb>(gate, clock, std::move(executor), api, instance);
}

}  // namespace lastcall::aws
