#include "agent/helpers/aws/elbv2.hpp"

#include <fmt/format.h>

#include <map>

#include "agent/helpers/aws/container.hpp"
#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/target_group.hpp"

namespace lastcall::aws {
namespace {

// AWS's field reports: an ALB's nodes may still send for some seconds; an NLB goes on making new
// connections for up to two minutes.
constexpr Clock::duration settle_http = 10s, settle_tcp = 120s;

bool instance_id(const std::string& id) { return id.starts_with("i-"); }

std::string joined(const std::string& one, const std::string& other) {
    return one.empty() || other.empty() ? one + other : one + "; " + other;
}

class Elbv2 final : public Balancer {
 public:
    Elbv2(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api, Http& http,
          InstanceMetadata& instance, const Surroundings& around)
        : gate_(gate),
          clock_(clock),
          executor_(std::move(executor)),
          api_(api),
          http_(http),
          instance_(instance),
          around_(around) {}

    awaitable<Known> check(TargetUrl url, Note note) override {
        auto asking = group(url).facts(note);
        const GroupFacts facts = co_await std::move(asking);
        auto finding = find_id(url, facts);
        const std::string id = co_await std::move(finding);
        refuse_wrong_kind(id, facts);
        Known known;
        known.target = fmt::format("{} in target group {}", Target{id, url.port}.text(), url.name);
        known.warning = joined(other_region(url), facts.warning);
        if (facts.delay) known.delay = std::chrono::seconds(*facts.delay);
        if (!facts.protocol.empty()) {
            const bool http = facts.protocol == "HTTP" || facts.protocol == "HTTPS";
            known.settle = http ? settle_http : settle_tcp;
        }
        // An instance's port may be mapped to another one of the task.
        if (!instance_id(id)) known.port = url.port;
        co_return known;
    }

    awaitable<void> register_target(TargetUrl url, Note note) override {
        TargetGroup& all = group(url);
        auto finding = find_id_asking(url, note);
        const std::string id = co_await std::move(finding);
        auto joining = all.join({id, url.port}, note);
        co_await std::move(joining);
    }

    awaitable<void> deregister(TargetUrl url, Note note, std::function<void()> taken) override {
        TargetGroup& all_of_it = group(url);
        auto finding = find_targets(url, note);
        const std::vector<Target> targets = co_await std::move(finding);
        std::vector<awaitable<void>> leaving, waiting;
        for (const auto& each : targets) leaving.push_back(all_of_it.leave(each, note));
        auto left = all(std::move(leaving));
        co_await std::move(left);
        taken();
        for (const auto& each : targets) waiting.push_back(all_of_it.until_gone(each, note));
        auto gone = all(std::move(waiting));
        co_await std::move(gone);
    }

 private:
    TargetGroup& group(const TargetUrl& url) {
        auto& place = groups_[url.arn];
        if (!place) {
            place =
                std::make_unique<TargetGroup>(gate_, clock_, executor_, api_, url.arn, url.region);
        }
        return *place;
    }

    /// The target's id: the URL's, else this task's address or this instance's id.
    awaitable<std::string> find_id(TargetUrl url, GroupFacts facts) {
        if (!url.id.empty()) co_return url.id;
        auto asking = task_metadata(http_, around_);
        const auto task = co_await std::move(asking);
        const bool own_address = task && task->network_mode != "bridge" &&
                                 task->network_mode != "host" && !task->address.empty();
        if (facts.type == "ip" || (facts.type.empty() && own_address)) {
            if (own_address) co_return task->address;
            throw Failure(
                fmt::format("the target's address isn't known: {}; give target-id=",
                            !task ? "ECS_CONTAINER_METADATA_URI_V4 isn't set"
                                  : fmt::format("this ECS task has no network interface of its own "
                                                "(network mode {})",
                                                quoted(task->network_mode))),
                false);
        }
        auto reading = instance_.instance_id_or("target-id");
        co_return co_await std::move(reading);
    }

    awaitable<std::string> find_id_asking(TargetUrl url, Note note) {
        if (!url.id.empty()) co_return url.id;
        auto asking = group(url).facts(std::move(note));
        GroupFacts facts = co_await std::move(asking);
        auto finding = find_id(std::move(url), std::move(facts));
        co_return co_await std::move(finding);
    }

    /// What the URL means: without a port, whatever is registered under that id.
    awaitable<std::vector<Target>> find_targets(TargetUrl url, Note note) {
        auto finding = find_id_asking(url, note);
        const std::string id = co_await std::move(finding);
        if (url.port) co_return std::vector<Target>{{id, url.port}};
        auto asking = group(url).health(note);
        const auto health = co_await std::move(asking);
        std::vector<Target> targets;
        std::string ports;
        for (const auto& each : health) {
            if (each.id != id || each.gone()) continue;
            targets.push_back({each.id, each.port});
            ports += fmt::format("{}{}", ports.empty() ? "" : ", ", each.port.value_or(0));
        }
        if (instance_id(id) && targets.size() > 1) {
            throw Failure(
                fmt::format("{} is registered with more than one port ({}), expected port=", id,
                            ports),
                false);
        }
        co_return targets;
    }

    static void refuse_wrong_kind(const std::string& id, const GroupFacts& facts) {
        if (facts.type.empty()) return;
        if (facts.type != "ip" && facts.type != "instance") {
            throw Failure(fmt::format("the target group's type is {}, expected ip or instance",
                                      quoted(facts.type)),
                          false);
        }
        if (instance_id(id) == (facts.type == "instance")) return;
        throw Failure(
            fmt::format("target-id is {}, expected {} (the target group's type is {})", quoted(id),
                        facts.type == "ip" ? "an address" : "an instance's id, i-…", facts.type),
            false);
    }

    std::string other_region(const TargetUrl& url) const {
        for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
            const auto region = around_.variable(name);
            if (region && *region == url.region) return "";
            if (region) {
                return fmt::format("{} is {}, but the ARN's region is used: {}", name,
                                   quoted(*region), url.region);
            }
        }
        return "";
    }

    Gate& gate_;
    Clock& clock_;
    asio::any_io_executor executor_;
    Api& api_;
    Http& http_;
    InstanceMetadata& instance_;
    const Surroundings& around_;
    std::map<std::string, std::unique_ptr<TargetGroup>> groups_;
};

}  // namespace

std::unique_ptr<Balancer> elbv2(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
                                Http& http, InstanceMetadata& instance,
                                const Surroundings& around) {
    return std::make_unique<Elbv2>(gate, clock, std::move(executor), api, http, instance, around);
}

}  // namespace lastcall::aws
