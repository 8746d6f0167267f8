#pragma once
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "supervisor/stop.hpp"
#include "tests/unit/fakes.hpp"

namespace lastcall {

/// A task behind a load balancer, about to be stopped in virtual time. The usual world: the load
/// balancer acknowledges at once and reports the last request done 20 s later; the process leaves 1
/// s after SIGTERM; the kernel shows two connections until the 20th second.
struct Stopping {
    Sim sim;
    FakeProcess process{sim};
    std::shared_ptr<FakeLoadBalancer> load_balancer = std::make_shared<FakeLoadBalancer>(sim);
    FakeEvidence evidence{sim};
    FakeJournal journal{sim};
    FakeLog log;
    FakeLauncher launcher{sim};
    TaskState task{.id = "id", .definition = {.name = "web", .containers = {{.name = "web"}}}};
    std::vector<Watch> watches;
    StopRequest request{.by = {.uid = 0, .pid = 1, .via = "api"}};
    std::unique_ptr<Stop> stop;
    std::vector<StoppingContainer> containers;

    Stopping() {
        process.exits_on[SIGTERM] = 1s;
        evidence.visits = {{.to = 20s}, {.to = 20s}};
        watches.push_back({.membership = {.url = "fake:web",
                                          .load_balancer = load_balancer,
                                          .target = "web/web1",
                                          .knows = true,
                                          .settle = 0s,
                                          .poll = 50ms}});
        containers.push_back({.name = "web", .process = process});
    }

    StopSettings& settings() { return task.definition.stop; }

    /// Another load balancer, one that knows nothing of connections.
    std::shared_ptr<FakeLoadBalancer> add_one_that_does_not_know(Clock::duration settle = 10s) {
        auto other = std::make_shared<FakeLoadBalancer>(sim);
        other->unused_after = std::nullopt;
        watches.push_back({.membership = {.url = "fake:blind",
                                          .load_balancer = other,
                                          .target = "/ready",
                                          .settle = settle,
                                          .poll = 50ms}});
        return other;
    }

    /// A later request, as somebody else would send it.
    void join_at(Clock::duration time, StopRequest later) {
        later.by = {.uid = 7, .pid = 8, .via = "api"};
        sim.at(time, [this, later] {
            if (stop) stop->join(later);
        });
    }

    StopRecord run() {
        StopScene scene{.executor = sim.executor(),
                        .clock = sim.clock,
                        .journal = journal,
                        .log = log,
                        .launcher = launcher,
                        .evidence = evidence,
                        .task = task,
                        .watches = watches,
                        .containers = containers,
                        .id = "stop"};
        stop = std::make_unique<Stop>(std::move(scene), request);
        StopRecord record = sim.run(stop->run());
        stop.reset();
        return record;
    }
};

inline std::string seconds(Clock::duration duration) {
    return fmt::format("{}", std::chrono::duration<double>(duration).count());
}

/// "DEREGISTER 0-2 completed", one line a phase: what happened, and when.
inline std::vector<std::string> story(const StopRecord& record) {
    std::vector<std::string> lines;
    for (const auto& phase : record.phases) {
        const auto from = phase.started.time_since_epoch();
        lines.push_back(fmt::format("{} {}-{} {}", to_string(phase.phase), seconds(from),
                                    seconds(from + phase.duration),
                                    phase.outcome ? to_string(*phase.outcome) : "open"));
    }
    lines.push_back(
        fmt::format("{} {}", to_string(record.outcome.value()), seconds(record.duration)));
    return lines;
}

using Story = std::vector<std::string>;

template <class Value>
Value detail(const StopRecord& record, std::size_t phase, std::string_view key) {
    const auto* value = record.phases.at(phase).detail.find(key);
    if (!value) throw std::out_of_range("no detail " + std::string(key));
    return std::get<Value>(*value);
}

}  // namespace lastcall

namespace doctest {
template <>
struct StringMaker<lastcall::Story> {
    static String convert(const lastcall::Story& story) {
        std::string text;
        for (const auto& line : story) text += "\n    \"" + line + "\",";
        return text.c_str();
    }
};
}  // namespace doctest
