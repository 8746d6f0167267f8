#include <doctest/doctest.h>

#include "tests/unit/stopping.hpp"

using namespace lastcall;

TEST_CASE_FIXTURE(Stopping, "a polite task leaves when its last request is done") {
    const auto record = run();
    CHECK(story(record) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-20 completed",
                                 "SIGTERM 20-21 completed", "graceful 21"});
    CHECK(process.signals == Sent{{20s, SIGTERM}});
    CHECK(process.continued == 1);
    CHECK(task.last_status == TaskStatus::stopped);
    CHECK(record.saved == 280s);
    CHECK(record.containers[0].exit == ExitStatus{});
    CHECK(detail<std::int64_t>(record, 1, "connectionsAtStart") == 2);
    CHECK(detail<std::int64_t>(record, 1, "connectionsAtEnd") == 0);
    CHECK(sim.clock.sleepers() == 0);
}

TEST_CASE_FIXTURE(Stopping, "a task without a load balancer is signalled at once, with no drain") {
    watches.clear();
    CHECK(story(run()) == Story{"SIGTERM 0-1 completed", "graceful 1"});
}

TEST_CASE_FIXTURE(Stopping, "a phase is in the journal before its action") {
    process.exits_on.clear();
    std::vector<Clock::duration> first_seen;
    run();
    for (const auto& [when, number] : process.signals) {
        const auto phase = number == SIGTERM ? Phase::sigterm : Phase::sigkill;
        const bool announced = std::any_of(
            journal.records.begin(), journal.records.end(), [phase](const StopRecord& record) {
                return !record.phases.empty() && record.phases.back().phase == phase &&
                       !record.phases.back().outcome;
            });
        CHECK(announced);
    }
    CHECK(process.signals == Sent{{20s, SIGTERM}});
    CHECK(process.tree_signals == Sent{{50s, SIGKILL}});
}

TEST_CASE_FIXTURE(Stopping, "STOPPED is said when the record is complete, not before") {
    TaskStatus while_recording{};
    journal.recording = [&](const StopRecord& record) {
        if (record.outcome) while_recording = task.last_status;
    };
    run();
    CHECK(while_recording == TaskStatus::deprovisioning);
    CHECK(task.last_status == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(Stopping, "a date that is set back, or forward, moves no deadline") {
    process.exits_on.clear();
    sim.at(7s, [this] { sim.clock.set_date(-1h); });
    sim.at(33s, [this] { sim.clock.set_date(1h); });
    const auto record = run();
    CHECK(story(record) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-20 completed",
                                 "SIGTERM 20-50 timed_out", "SIGKILL 50-50 completed",
                                 "killed 50"});
    CHECK(record.phases[2].started_at < record.phases[1].started_at);  // for people, as they set it
    CHECK(record.stopped_at == record.requested_at + 50s + 1h);
}

TEST_CASE_FIXTURE(Stopping, "a stubborn process is killed when the stop timeout has passed") {
    process.exits_on.clear();
    const auto record = run();
    CHECK(story(record) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-20 completed",
                                 "SIGTERM 20-50 timed_out", "SIGKILL 50-50 completed",
                                 "killed 50"});
    CHECK(record.containers[0].exit->signal == SIGKILL);
    CHECK(record.containers[0].killed_by == Killer::sigkill);
    CHECK(record.phases[2].detail.find("error") == nullptr);
}

TEST_CASE_FIXTURE(Stopping, "an exit in the very instant of the deadline counts as an exit") {
    process.exits_on[SIGTERM] = 30s;
    CHECK(story(run()).back() == "graceful 50");
    CHECK(process.tree_signals.empty());
}

TEST_CASE_FIXTURE(Stopping, "what the main process leaves behind gets the signal, then SIGKILL") {
    process.has_children = true;
    SUBCASE("it leaves on the signal") {
        process.tree_leaves_on[SIGTERM] = 4s;
        CHECK(story(run()).back() == "graceful 25");
        CHECK(process.tree_signals == Sent{{21s, SIGTERM}});
    }
    SUBCASE("it ignores it: the kill timer goes on after the main process has gone") {
        const auto record = run();
        CHECK(story(record).back() == "killed 50");
        CHECK(process.tree_signals == Sent{{21s, SIGTERM}, {50s, SIGKILL}});
        CHECK(detail<std::int64_t>(record, 2, "left") == 1);
    }
}

TEST_CASE_FIXTURE(Stopping, "what SIGKILL can't end is unkillable, named, and still STOPPING") {
    process.exits_on.clear();
    process.unkillable = true;
    const auto record = run();
    CHECK(story(record) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-20 completed",
                                 "SIGTERM 20-50 timed_out", "SIGKILL 50-60 failed",
                                 "unkillable 60"});
    CHECK(task.last_status == TaskStatus::stopping);
    CHECK_FALSE(record.stopped_at);
    REQUIRE(record.survivors.size() == 1);
    CHECK(record.survivors[0].state == 'D');
    CHECK(process.tree_signals.size() == 100);  // again every 100 ms: it may have forked
}

TEST_CASE_FIXTURE(Stopping, "a command runs before the signal, within its own time") {
    settings().pre_stop = "sync";
    SUBCASE("it exits") {
        launcher.prepare = [](FakeProcess& hook) { hook.exit_at(22s, {}); };
        const auto record = run();
        CHECK(story(record)[2] == "PRE_STOP 20-22 completed");
        CHECK(launcher.definitions[0].command == std::vector<std::string>{"/bin/sh", "-c", "sync"});
    }
    SUBCASE("it fails") {
        launcher.prepare = [](FakeProcess& hook) { hook.exit_at(22s, {.code = 3}); };
        const auto record = run();
        CHECK(story(record)[2] == "PRE_STOP 20-22 failed");
        CHECK(detail<std::int64_t>(record, 2, "exitCode") == 3);
    }
    SUBCASE("it hangs") { CHECK(story(run())[2] == "PRE_STOP 20-30 timed_out"); }
    SUBCASE("it can't be started") {
        launcher.fails = true;
        CHECK(story(run())[2] == "PRE_STOP 20-20 failed");
    }
    CHECK(task.last_status == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(Stopping, "the drain signal is sent when deregistration has ended") {
    settings().drain_signal = SIGUSR1;
    load_balancer->acknowledges_in = 2s;
    run();
    CHECK(process.signals == Sent{{2s, SIGUSR1}, {22s, SIGTERM}});
}

TEST_CASE_FIXTURE(Stopping,
                  "containers stop in reverse order of their dependencies, transitively") {
    FakeProcess database(sim), cache(sim), sidecar(sim);
    for (auto* each : {&database, &cache, &sidecar}) each->exits_on[SIGTERM] = 5s;
    watches.clear();
    // web needs cache, cache needs database; the sidecar needs nobody.
    containers.push_back({.name = "cache", .process = cache, .after = {0}});
    containers.push_back({.name = "database", .process = database, .after = {1}});
    containers.push_back({.name = "sidecar", .process = sidecar});
    const auto record = run();
    CHECK(process.signals == Sent{{0s, SIGTERM}});
    CHECK(sidecar.signals == Sent{{0s, SIGTERM}});
    CHECK(cache.signals == Sent{{1s, SIGTERM}});
    CHECK(database.signals == Sent{{6s, SIGTERM}});
    CHECK(story(record).back() == "graceful 11");
}

TEST_CASE_FIXTURE(Stopping,
                  "a task that exited by itself is deregistered in one attempt, without a drain") {
    process.exit_now({.code = 7});
    request.code = StopCode::essential_container_exited;
    SUBCASE("acknowledged") {
        const auto record = run();
        CHECK(story(record) == Story{"DEREGISTER 0-0 completed", "exited 0"});
        CHECK(record.containers[0].exit->code == 7);
    }
    SUBCASE("refused once: no second attempt") {
        load_balancer->failures = 1;
        CHECK(story(run())[0] == "DEREGISTER 0-0 failed");
    }
    SUBCASE("silent: two seconds at most") {
        load_balancer->silent = true;
        const auto record = run();
        CHECK(story(record) == Story{"DEREGISTER 0-2 interrupted", "exited 2"});
    }
    CHECK(process.signals.empty());
}

TEST_CASE_FIXTURE(Stopping,
                  "progress tells what is waited for, how many are left, and what comes next") {
    settings().deregistration_delay = 60s;
    StopProgress seen;
    sim.at(10s, [&] { seen = stop->progress(); });
    run();
    CHECK(seen.connections == 3);  // its word decides; the kernel shows two
    CHECK(seen.waiting_for == "3 in flight at fake:web");
    CHECK(seen.next == Phase::sigterm);
    CHECK(seen.next_in == 50s);
    CHECK(seen.record.phases.back().duration == 10s);
}
