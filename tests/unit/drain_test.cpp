#include <doctest/doctest.h>

#include "tests/unit/stopping.hpp"

using namespace lastcall;

TEST_CASE_FIXTURE(Stopping, "deregistration is retried with backoff until it is acknowledged") {
    load_balancer->failures = 3;
    const auto record = run();
    CHECK(record.phases[0].outcome == Outcome::completed);
    CHECK(detail<std::int64_t>(record, 0, "attempts") == 4);
    REQUIRE(load_balancer->deregistered.size() == 4);
    for (std::size_t attempt = 1; attempt < 4; ++attempt) {
        const auto pause =
            load_balancer->deregistered[attempt] - load_balancer->deregistered[attempt - 1];
        const auto longest = 100ms * (1 << (attempt - 1));
        CHECK(pause >= longest / 2);
        CHECK(pause <= longest);
    }
}

TEST_CASE_FIXTURE(Stopping, "an error that a retry can't mend ends DEREGISTER at once") {
    load_balancer->refuses = true;
    const auto record = run();
    CHECK(story(record) == Story{"DEREGISTER 0-0 failed", "DRAIN 0-20 completed",
                                 "SIGTERM 20-21 completed", "graceful 21"});
    CHECK(detail<std::string>(record, 0, "error") == "cannot deregister web/web1: No such server.");
    CHECK(load_balancer->deregistered.size() == 1);
}

TEST_CASE_FIXTURE(Stopping,
                  "after a failed deregistration only the connections open then are waited for") {
    load_balancer->refuses = true;
    evidence.visits = {{.to = 5s}, {.from = 1s}, {.from = 3s}};
    const auto record = run();
    CHECK(story(record)[1] == "DRAIN 0-5 completed");
    CHECK(detail<std::int64_t>(record, 1, "arrivedAfterDeregistration") == 2);
}

TEST_CASE_FIXTURE(Stopping, "a silent load balancer costs the deregister timeout") {
    load_balancer->silent = true;
    const auto record = run();
    CHECK(record.phases[0].outcome == Outcome::failed);
    CHECK(record.phases[0].duration <= 30s);
    CHECK(record.phases[0].duration > 24s);
    CHECK(detail<std::string>(record, 0, "error") ==
          "cannot deregister web/web1 from fake:web: no answer in time");
    CHECK(record.phases[2].phase == Phase::sigterm);
}

TEST_CASE_FIXTURE(Stopping, "failed, and no evidence: no evidence isn't zero, so the whole delay") {
    load_balancer->refuses = true;
    evidence.blind = true;
    CHECK(story(run())[1] == "DRAIN 0-300 timed_out");
    CHECK(log.said("No evidence of the task's connections"));
}

TEST_CASE_FIXTURE(Stopping, "one that knows decides by itself, whatever the kernel shows") {
    evidence.visits = {{}};  // a proxy's idle pool
    CHECK(story(run())[1] == "DRAIN 0-20 completed");
}

TEST_CASE_FIXTURE(Stopping, "strict wants the kernel's word too") {
    evidence.visits = {{.to = 33s}};
    watches[0].mode = DrainMode::strict;
    const auto record = run();
    CHECK(record.phases[1].duration >= 33s);
    CHECK(record.phases[1].duration < 33s + 100ms);
}

TEST_CASE_FIXTURE(Stopping, "one that knows, and no evidence at all") {
    evidence.blind = true;
    SUBCASE("closed: its report is enough") { CHECK(story(run())[1] == "DRAIN 0-20 completed"); }
    SUBCASE("strict: the whole delay") {
        watches[0].mode = DrainMode::strict;
        CHECK(story(run())[1] == "DRAIN 0-300 timed_out");
    }
}

TEST_CASE_FIXTURE(Stopping,
                  "one that doesn't know, and no evidence at all: the whole delay, said once") {
    watches.clear();
    add_one_that_does_not_know();
    evidence.blind = true;
    const auto record = run();
    CHECK(story(record)[1] == "DRAIN 0-300 timed_out");
    CHECK(detail<std::string>(record, 1, "limit") == "deregistration delay");
    CHECK(detail<std::string>(record, 1, "waitingFor") ==
          "fake:blind (no evidence of connections)");
    CHECK(std::count_if(log.lines.begin(), log.lines.end(), [](const std::string& line) {
              return line.find("No evidence") != std::string::npos;
          }) == 1);
}

TEST_CASE_FIXTURE(Stopping, "two, of which one knows: the drain ends when both are satisfied") {
    add_one_that_does_not_know(10s);
    SUBCASE("the one that doesn't know is later: its connections, and its settle time") {
        const auto record = run();
        CHECK(record.phases[2].phase == Phase::drain);
        CHECK(record.phases[2].duration >= 30s);
        CHECK(record.phases[2].duration < 30s + 100ms);
    }
    SUBCASE("the one that knows is later") {
        load_balancer->unused_after = 50s;
        CHECK(story(run())[2] == "DRAIN 0-50 completed");
    }
    SUBCASE("one refuses, the other is waited for all the same") {
        load_balancer->refuses = true;
        const auto record = run();
        CHECK(record.phases[0].outcome == Outcome::failed);
        CHECK(record.phases[1].outcome == Outcome::completed);
        CHECK(record.phases[2].duration >= 30s);
    }
    SUBCASE("one is slow to acknowledge: the drain begins when both have") {
        load_balancer->acknowledges_in = 4s;
        const auto record = run();
        CHECK(story(record)[0] == "DEREGISTER 0-4 completed");
        CHECK(story(record)[1] == "DEREGISTER 0-0 completed");
        CHECK(record.phases[2].started.time_since_epoch() == 4s);
    }
}

TEST_CASE_FIXTURE(Stopping, "settle: zero must stay zero, a new connection starts it again") {
    watches.clear();
    add_one_that_does_not_know(10s);
    evidence.visits = {{.to = 5s}, {.from = 12s, .to = 13s}};
    const auto record = run();
    CHECK(record.phases[1].duration >= 23s);
    CHECK(record.phases[1].duration < 23s + 100ms);
    CHECK(detail<std::int64_t>(record, 1, "arrivedAfterDeregistration") == 1);
}

TEST_CASE_FIXTURE(Stopping, "settle: after three times of it, zero at one look is enough") {
    watches.clear();
    add_one_that_does_not_know(10s);
    evidence.visits.clear();
    for (int check = 1; check < 100; ++check) {  // health checks every 2 s
        evidence.visits.push_back({.from = check * 2s, .to = check * 2s + 100ms});
    }
    const auto record = run();
    CHECK(record.phases[1].outcome == Outcome::completed);
    CHECK(record.phases[1].duration >= 30s);
    CHECK(record.phases[1].duration < 31s);
}

TEST_CASE_FIXTURE(Stopping, "one that stops reporting is replaced by the kernel's evidence") {
    load_balancer->breaks_at = 4s;
    evidence.visits = {{.to = 9s}};
    const auto record = run();
    CHECK(record.phases[1].outcome == Outcome::completed);
    CHECK(record.phases[1].duration >= 10s);  // and zero must stay zero for a second
    CHECK(record.phases[1].duration < 10s + 200ms);
}

TEST_CASE_FIXTURE(Stopping, "after a reload its word alone isn't enough: the kernel's counts too") {
    load_balancer->partial = true;
    SUBCASE("the old process still has a connection") {
        evidence.visits = {{.to = 33s}};
        const auto record = run();
        CHECK(record.phases[1].duration >= 33s);
        CHECK(record.phases[1].duration < 33s + 100ms);
    }
    SUBCASE("the new one still has a request") {
        evidence.visits.clear();
        CHECK(story(run())[1] == "DRAIN 0-20 completed");
    }
}

TEST_CASE_FIXTURE(Stopping, "idle: a connection at rest isn't waited for, one at work is") {
    watches.clear();
    add_one_that_does_not_know(0s);
    watches[0].mode = DrainMode::idle;
    settings().drain_idle = 5s;
    evidence.visits = {{.rests_from = 0s}, {.to = 40s}, {.rests_from = 20s}};
    const auto record = run();
    CHECK(record.phases[1].duration >= 40s);
    CHECK(record.phases[1].duration < 41s);
    CHECK(detail<std::int64_t>(record, 1, "connectionsAtEnd") == 2);
}

TEST_CASE_FIXTURE(Stopping,
                  "a drain that timed out on connections at rest says what idle would have saved") {
    watches.clear();
    add_one_that_does_not_know(0s);
    evidence.visits = {{.rests_from = 100s}, {.rests_from = 60s}};
    const auto record = run();
    CHECK(story(record)[1] == "DRAIN 0-300 timed_out");
    CHECK(detail<double>(record, 1, "idleWouldHaveSavedMs") == doctest::Approx(195'000));
    CHECK(detail<std::int64_t>(record, 1, "connectionsAtEnd") == 2);
    CHECK(record.saved == 0s);
}

TEST_CASE_FIXTURE(Stopping, "none: no wait") {
    watches[0].mode = DrainMode::none;
    SUBCASE("for all") {
        CHECK(story(run()) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-0 skipped",
                                    "SIGTERM 0-1 completed", "graceful 1"});
    }
    SUBCASE("for one of two") {
        load_balancer->unused_after = std::nullopt;
        add_one_that_does_not_know(0s);
        CHECK(story(run())[2] == "DRAIN 0-20 completed");
    }
}

TEST_CASE_FIXTURE(Stopping,
                  "a deregistration delay of zero signals as soon as it is acknowledged") {
    settings().deregistration_delay = 0s;
    CHECK(process.signals.empty());
    const auto record = run();
    CHECK(process.signals == Sent{{0s, SIGTERM}});
}

TEST_CASE_FIXTURE(Stopping, "a load balancer is asked until the task is gone: a reload forgets") {
    process.exits_on.clear();
    int asked_while_stopping = 0;
    struct Counting final : LoadBalancer {
        Counting(LoadBalancer& under, VirtualClock& time, int& count)
            : lb(under), clock(time), asked(count) {}
        awaitable<void> register_target(const std::string& target) override {
            return lb.register_target(target);
        }
        awaitable<void> deregister(const std::string& target) override {
            return lb.deregister(target);
        }
        awaitable<TargetReport> state_of(const std::string& target) override {
            if (clock.now().time_since_epoch() > 21s) ++asked;
            return lb.state_of(target);
        }
        LoadBalancer& lb;
        VirtualClock& clock;
        int& asked;
    };
    watches[0].membership.load_balancer =
        std::make_shared<Counting>(*load_balancer, sim.clock, asked_while_stopping);
    run();
    CHECK(asked_while_stopping > 50);  // every 250 ms for the 29 s that are left
}

TEST_CASE("three hundred worlds: no SIGTERM before the drain, no SIGKILL before the stop timeout") {
    for (unsigned seed = 0; seed < 300; ++seed) {
        CAPTURE(seed);
        std::minstd_rand random(seed);
        const auto upto = [&random](int limit) {
            return std::chrono::milliseconds(std::uniform_int_distribution<>(0, limit)(random));
        };
        Stopping world;
        world.load_balancer->acknowledges_in = upto(8000);
        world.load_balancer->unused_after = upto(22'000);
        world.load_balancer->failures = static_cast<int>(upto(3).count());
        if (seed % 7 == 0) world.load_balancer->silent = true;
        if (seed % 5 == 0) world.load_balancer->breaks_at = upto(5'000);
        world.settings().deregistration_delay = upto(15'000);
        world.process.exits_on[SIGTERM] = upto(45'000);
        if (seed % 11 == 0) world.process.exit_at(upto(20'000), {.code = 3});
        world.evidence.visits = {{.to = upto(20'000)}, {.from = upto(2'000), .to = upto(12'000)}};

        const auto record = world.run();

        CHECK(world.task.last_status == TaskStatus::stopped);
        Clock::time_point end = record.requested;
        for (const auto& phase : record.phases) {
            CHECK(phase.outcome);
            CHECK(phase.started >= end - phase.duration);
            end = std::max(end, phase.started + phase.duration);
        }
        if (!world.process.signals.empty()) {
            const auto signalled = world.process.signals.front().first;
            const auto& drain = record.phases[1];
            REQUIRE(drain.phase == Phase::drain);
            CHECK(signalled >= (drain.started + drain.duration).time_since_epoch());
            for (const auto& [when, number] : world.process.tree_signals) {
                if (number == SIGKILL) CHECK(when >= signalled + 30s);
            }
        }
    }
}
