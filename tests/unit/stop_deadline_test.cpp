#include <doctest/doctest.h>

#include "tests/unit/stopping.hpp"

using namespace lastcall;

namespace {

/// Connections that never end, and a process that never leaves.
struct Endless : Stopping {
    Endless() {
        load_balancer->unused_after = std::nullopt;
        process.exits_on.clear();
    }
};

}  // namespace

TEST_CASE_FIXTURE(Endless, "the outer deadline with a configured stop timeout") {
    settings().stop_deadline = 10s;
    settings().stop_timeout = 3s;
    const auto record = run();
    CHECK(story(record) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-6 timed_out",
                                 "SIGTERM 6-9 timed_out", "SIGKILL 9-9 completed", "killed 9"});
    CHECK(detail<std::string>(record, 1, "limit") == "stop deadline");
}

TEST_CASE_FIXTURE(Endless,
                  "the outer deadline without one: half of it to drain, all the rest to stop") {
    settings().stop_deadline = 10s;
    CHECK(story(run()) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-4.5 timed_out",
                                "SIGTERM 4.5-9 timed_out", "SIGKILL 9-9 completed", "killed 9"});
}

TEST_CASE_FIXTURE(Endless, "what the drain doesn't need is the process's") {
    settings().stop_deadline = 10s;
    load_balancer->unused_after = 1s;
    CHECK(story(run())[2] == "SIGTERM 1-9 timed_out");
}

TEST_CASE_FIXTURE(Endless, "a configured stop timeout isn't stretched by a deadline") {
    settings().stop_deadline = 60s;
    settings().stop_timeout = 3s;
    load_balancer->unused_after = 1s;
    CHECK(story(run())[2] == "SIGTERM 1-4 timed_out");
}

TEST_CASE_FIXTURE(Endless, "a stop timeout longer than the deadline leaves no drain, and is cut") {
    settings().stop_deadline = 10s;
    settings().stop_timeout = 30s;
    const auto record = run();
    CHECK(process.signals == Sent{{0s, SIGTERM}});
    CHECK(process.tree_signals == Sent{{9s, SIGKILL}});
}

TEST_CASE_FIXTURE(Endless, "a deadline of a second or less signals and kills at once") {
    settings().stop_deadline = 500ms;
    run();
    CHECK(process.signals == Sent{{0s, SIGTERM}});
    CHECK(process.tree_signals == Sent{{0s, SIGKILL}});
}

TEST_CASE_FIXTURE(Endless, "DEREGISTER, DRAIN and PRE_STOP share the deadline") {
    settings().stop_deadline = 10s;
    settings().stop_timeout = 3s;
    settings().pre_stop = "sleep 100";
    load_balancer->acknowledges_in = 2s;
    load_balancer->unused_after = 2s;
    CHECK(story(run()) == Story{"DEREGISTER 0-2 completed", "DRAIN 2-4 completed",
                                "PRE_STOP 4-6 timed_out", "SIGTERM 6-9 timed_out",
                                "SIGKILL 9-9 completed", "killed 9"});
}

TEST_CASE_FIXTURE(Endless, "a container's own stop timeout counts in the deadline") {
    settings().stop_deadline = 20s;
    settings().stop_timeout = 3s;
    containers[0].stop_timeout = 10s;
    CHECK(story(run())[1] == "DRAIN 0-9 timed_out");
    CHECK(process.tree_signals == Sent{{19s, SIGKILL}});
}

TEST_CASE_FIXTURE(Endless, "a deadline that comes later (a spot notice) shortens") {
    settings().stop_timeout = 3s;
    join_at(10s, {.deadline = 20s});
    CHECK(story(run()) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-26 interrupted",
                                "SIGTERM 26-29 interrupted", "SIGKILL 29-29 completed",
                                "killed 29"});
}
