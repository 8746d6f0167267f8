#include "agent/lb/readiness.hpp"

#include <fmt/format.h>

#include <map>

#include "agent/lb/agent_check.hpp"
#include "agent/lb/probe_listener.hpp"
#include "agent/lb/readiness_http.hpp"
#include "agent/lb/readiness_target.hpp"

namespace lastcall {
namespace {

using asio::ip::tcp;

class Readiness final : public ReadinessLoadBalancer {
 public:
    Readiness(std::string name, asio::any_io_executor executor, tcp::endpoint address, Log& log)
        : name_(std::move(name)),
          executor_(std::move(executor)),
          address_(std::move(address)),
          log_(log),
          listener_(std::make_shared<ProbeListener>(name_, executor_, address_, log_,
                                                    [targets = targets_](tcp::socket& socket) {
                                                        return answer_http_probe(targets, socket);
                                                    })) {}
    Readiness(const Readiness&) = delete;
    Readiness& operator=(const Readiness&) = delete;
    ~Readiness() override {
        listener_->close();
        for (const auto& [port, agent] : agents_) agent.listener->close();
    }

    void failure(const std::string& target, Failure failure) override {
        at(target).failure = failure;
    }

    void begin_agent_check(const std::string& target, std::uint16_t port) override {
        at(target);
        const auto answer = [targets = targets_, target](tcp::socket& socket) {
            return answer_agent_check(targets, target, socket);
        };
        auto listener = std::make_shared<ProbeListener>(
            fmt::format("{}, agent-check={}", name_, port), executor_,
            tcp::endpoint(address_.address(), port), log_, answer);
        agents_.emplace(port, Agent{target, std::move(listener)});
    }

    void end_agent_check(std::uint16_t port) override {
        const auto place = agents_.find(port);
        if (place == agents_.end()) return;
        place->second.listener->close();
        agents_.erase(place);
    }

    awaitable<void> register_target(const std::string& target) override {
        listen(target);
        at(target).become_healthy();
        co_return;
    }

    awaitable<void> deregister(const std::string& target) override {
        ReadinessTarget& leaving = at(target);
        leaving.become_draining();
        co_await leaving.known();
    }

    void take_over(const std::string& target, TargetState as) override {
        listen(target);
        ReadinessTarget& taken = at(target);
        taken.become_healthy();
        taken.heard_healthy(ProbeKind::http);
        for (const auto& [port, agent] : agents_) {
            if (agent.target == target) taken.heard_healthy(ProbeKind::agent_check);
        }
        if (as != TargetState::healthy) taken.become_draining();
    }

    awaitable<TargetReport> state_of(const std::string& target) override {
        listen(target);
        TargetReport report;
        report.state = at(target).state();
        co_return report;
    }

 private:
    struct Agent {
        std::string target;
        std::shared_ptr<ProbeListener> listener;  ///< its coroutines own it too
    };

    ReadinessTarget& at(const std::string& target) {
        return targets_->try_emplace(target, executor_).first->second;
    }
    void listen(const std::string& target) {
        listener_->listen();
        for (const auto& [port, agent] : agents_) {
            if (agent.target == target) agent.listener->listen();
        }
    }

    std::string name_;
    asio::any_io_executor executor_;
    tcp::endpoint address_;
    Log& log_;
    std::shared_ptr<ReadinessTargets> targets_ = std::make_shared<ReadinessTargets>();
    std::shared_ptr<ProbeListener> listener_;
    std::map<std::uint16_t, Agent> agents_;  ///< by port
};

}  // namespace

std::shared_ptr<ReadinessLoadBalancer> readiness_load_balancer(std::string name,
                                                               asio::any_io_executor executor,
                                                               tcp::endpoint address, Log& log) {
    return std::make_shared<Readiness>(std::move(name), std::move(executor), std::move(address),
                                       log);
}

}  // namespace lastcall
