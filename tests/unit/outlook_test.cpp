#include "agent/outlook.hpp"

#include <doctest/doctest.h>

using namespace lastcall;

namespace {

TaskBrief brief(const TaskDefinition& definition, TaskStatus status,
                std::optional<TaskBrief::Stopping> stopping = {}) {
    return {.status = status, .definition = &definition, .stopping = stopping};
}

TaskDefinition task() {
    TaskDefinition definition;
    definition.stop.stop_timeout = 20s;
    definition.stop.deregistration_delay = 100s;
    return definition;
}

}  // namespace

TEST_CASE("a summary counts what isn't stopped") {
    const TaskDefinition web = task();
    CHECK(summary({}) == "No task");
    CHECK(summary({brief(web, TaskStatus::stopped)}) == "No task");
    CHECK(summary({brief(web, TaskStatus::running)}) == "1 task: 1 running");
    CHECK(summary({brief(web, TaskStatus::deactivating), brief(web, TaskStatus::running),
                   brief(web, TaskStatus::stopping), brief(web, TaskStatus::running)}) ==
          "4 tasks: 2 running, 1 draining, 1 stopping");
}

TEST_CASE("the longest stop is bounded by its phase, and all that may follow it") {
    TaskDefinition web = task();
    const auto left = [&](TaskStatus status, std::optional<TaskBrief::Stopping> stopping) {
        return longest_stop({brief(web, status, stopping)});
    };
    CHECK(left(TaskStatus::running, {}) == 0s);
    const auto last = 15s, signals = 20s + last;
    CHECK(left(TaskStatus::stopping, {{Phase::sigkill, 3s}}) == 3s + last);
    CHECK(left(TaskStatus::deactivating, {{Phase::sigterm, 40s}}) == 40s + signals);
    CHECK(left(TaskStatus::deactivating, {{Phase::drain, 5s}}) == 5s + 100s + signals);
    CHECK(left(TaskStatus::running, {{std::nullopt, std::nullopt}}) == 30s + 100s + signals);
    web.stop.pre_stop = "true";
    CHECK(left(TaskStatus::deactivating, {{Phase::sigterm, 40s}}) == 40s + 10s + signals);
    web.containers.push_back({.stop_timeout = 60s});
    CHECK(left(TaskStatus::deactivating, {{Phase::sigterm, 40s}}) == 40s + 10s + 60s + last);
}

TEST_CASE("of several stops the longest counts") {
    const TaskDefinition web = task();
    CHECK(longest_stop({brief(web, TaskStatus::stopping, {{Phase::sigkill, 3s}}),
                        brief(web, TaskStatus::stopping, {{Phase::sigkill, 9s}}),
                        brief(web, TaskStatus::running)}) == 24s);
}
