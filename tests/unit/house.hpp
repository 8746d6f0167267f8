#pragma once
#include <memory>
#include <string>
#include <vector>

#include "supervisor/supervisor.hpp"
#include "tests/unit/stopping.hpp"

namespace lastcall {

/// A supervisor in virtual time; every task is behind one fake load balancer.
struct FakeHouse {
    Sim sim;
    FakeJournal journal{sim};
    FakeLog log;
    FakeLauncher launcher{sim};
    std::shared_ptr<FakeLoadBalancer> load_balancer = std::make_shared<FakeLoadBalancer>(sim);
    bool behind_load_balancer = false;
    bool registers = true;
    Clock::duration listens_from{};
    int ids = 0;
    std::vector<std::string> met;  ///< the load balancers that were introduced
    std::vector<FakeEvidence*> evidence;
    Supervisor supervisor{surroundings()};

    Surroundings surroundings() {
        return {
            .executor = sim.executor(),
            .clock = sim.clock,
            .journal = journal,
            .log = log,
            .launcher = launcher,
            .memberships =
                [this](const TaskDefinition&) {
                    std::vector<Membership> all;
                    if (!behind_load_balancer) return all;
                    all.push_back({.url = "fake:web",
                                   .load_balancer = load_balancer,
                                   .target = "web/web1",
                                   .knows = true,
                                   .registers = registers,
                                   .settle = 0s});
                    return all;
                },
            .introduced = [this](const TaskDefinition&,
                                 const Membership& membership) { met.push_back(membership.url); },
            .evidence =
                [this](const TaskDefinition&, std::vector<Process*>) {
                    auto seen = std::make_unique<FakeEvidence>(sim);
                    seen->listens_from = listens_from;
                    evidence.push_back(seen.get());
                    return seen;
                },
            .new_id = [this] { return std::to_string(++ids); },
            .cleanup_wait = 3h};
    }

    FakeHouse() {
        launcher.prepare = [](FakeProcess& process) { process.exits_on[SIGTERM] = 1s; };
    }
    static TaskDefinition task(std::string name) {
        return {.name = std::move(name), .containers = {{.name = "main", .command = {"server"}}}};
    }
    TaskView start(std::string name) { return sim.run(supervisor.start(task(std::move(name)))); }
    StopRecord stop(const std::string& name, StopRequest request = {}) {
        supervisor.request_stop(name, request);
        return sim.run(supervisor.stopped(name));
    }
    void pass(Clock::duration time) {
        auto nap = [](Clock& clock, Clock::time_point until) -> awaitable<void> {
            co_await clock.sleep_until(until);
        };
        sim.run(nap(sim.clock, sim.clock.now() + time));
    }
    TaskStatus status(const std::string& name) { return supervisor.view(name).state.last_status; }
};

}  // namespace lastcall
