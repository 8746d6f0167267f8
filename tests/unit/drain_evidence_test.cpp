#include <doctest/doctest.h>

#include "tests/unit/stopping.hpp"

using namespace lastcall;

namespace {

/// Behind one load balancer that knows nothing of connections.
struct OnEvidence : Stopping {
    OnEvidence() {
        watches.clear();
        other = add_one_that_does_not_know(0s);
    }
    void settle(Clock::duration time) { watches[0].membership.settle = time; }
    void idle(Clock::duration time) {
        watches[0].mode = DrainMode::idle;
        settings().drain_idle = time;
    }
    std::shared_ptr<FakeLoadBalancer> other;
};

}  // namespace

TEST_CASE_FIXTURE(OnEvidence, "the drain ends in the moment in which the last connection closes") {
    evidence.visits = {{.to = 7s}, {.to = 12'345'678us}};
    SUBCASE("and nobody has come") {}
    SUBCASE("and nobody knows whether somebody has come") { evidence.counts_opens = false; }
    CHECK(story(run())[1] == "DRAIN 0-12.345678 completed");
    CHECK(evidence.looks == (evidence.counts_opens ? 1 : 2));  // to confirm what was heard
}

TEST_CASE_FIXTURE(OnEvidence, "where closes aren't told the look once a second ends it") {
    evidence.tells_closes = false;
    evidence.visits = {{.to = 12'300ms}};
    CHECK(story(run())[1] == "DRAIN 0-13 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "what was heard is confirmed: somebody may have come meanwhile") {
    evidence.visits = {{.to = 7'500ms}, {.from = 7'200ms, .to = 9'100ms}};
    const auto record = run();
    CHECK(story(record)[1] == "DRAIN 0-9.1 completed");
    CHECK(detail<std::int64_t>(record, 1, "arrivedAfterDeregistration") == 1);
}

TEST_CASE_FIXTURE(OnEvidence, "settle: one that comes and goes between two looks starts it again") {
    settle(10s);
    evidence.visits = {{.from = 4'200ms, .to = 4'205ms}};
    const auto record = run();
    CHECK(story(record)[1] == "DRAIN 0-14.205 completed");
    CHECK(detail<std::int64_t>(record, 1, "arrivedAfterDeregistration") == 1);
}

TEST_CASE_FIXTURE(OnEvidence, "settle: one that is there in its last moment starts it again") {
    settle(10s);
    evidence.visits = {{.from = 9'999ms, .to = 10'500ms}};
    CHECK(story(run())[1] == "DRAIN 0-20.5 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "idle: it ends when the last has been at rest for long enough") {
    idle(5s);
    evidence.visits = {{.rests_from = 0s}, {.rests_from = 20'250ms}};
    CHECK(story(run())[1] == "DRAIN 0-25.25 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "idle: a request on a connection at rest is waited for") {
    idle(5s);
    evidence.visits = {{.to = 42s, .rests_from = 0s, .works_from = 4'500ms}};
    CHECK(story(run())[1] == "DRAIN 0-42 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "idle: a request during settle starts it again") {
    idle(1s);
    settle(10s);
    evidence.visits = {{.rests_from = 0s},
                       {.to = 9'400ms, .rests_from = 0s, .works_from = 8'300ms}};
    CHECK(story(run())[1] == "DRAIN 0-19.4 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "idle: settle begins when the rest is seen, not when it was due") {
    idle(1s);
    settle(10s);
    evidence.visits = {{.rests_from = 0s, .works_from = 500ms, .rests_again_from = 4'300ms}};
    CHECK(story(run())[1] == "DRAIN 0-15.3 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "idle: three settle times count from a rest that was seen") {
    idle(1s);
    settle(200ms);
    // By the look at the beginning it would have been at rest for a second at the first one.
    evidence.visits = {{.rests_from = 0s, .works_from = 500ms, .rests_again_from = 4'300ms}};
    CHECK(story(run())[1] == "DRAIN 0-5.5 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "idle: the failed deregistration's connections may be at rest too") {
    idle(5s);
    other->refuses = true;
    evidence.visits = {{.rests_from = 3s}, {.from = 1s}};
    CHECK(story(run())[1] == "DRAIN 0-8 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "never told of the task, and nobody listened: nobody was sent") {
    watches[0].registered = false;
    evidence.blind = true;
    CHECK(story(run())[1] == "DRAIN 0-0 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "never told of the task, but there are connections: they count") {
    watches[0].registered = false;
    evidence.visits = {{.to = 3s}};
    CHECK(story(run())[1] == "DRAIN 0-3 completed");
}

TEST_CASE_FIXTURE(OnEvidence, "the record says who stayed longest") {
    evidence.visits = {{.to = 4s, .peer = {10, 0, 0, 4}}, {.to = 9s, .peer = {10, 0, 0, 9}}};
    const auto record = run();
    CHECK(detail<double>(record, 1, "longestMs") == doctest::Approx(9000));
    CHECK(detail<std::string>(record, 1, "longestPeer") == "10.0.0.9");
    CHECK(record.phases[1].detail.find("peers") == nullptr);
}

TEST_CASE_FIXTURE(OnEvidence, "the record of one that timed out names who was still inside") {
    settings().deregistration_delay = 30s;
    evidence.visits = {{.peer = {10, 0, 0, 4}}, {.to = 5s}, {.peer = {10, 0, 0, 4}}};
    const auto record = run();
    CHECK(story(record)[1] == "DRAIN 0-30 timed_out");
    CHECK(detail<std::string>(record, 1, "peers") == "10.0.0.4 (2)");
    CHECK(detail<std::string>(record, 1, "waitingFor") == "2 open connections behind fake:blind");
    CHECK(record.phases[1].detail.find("atRestMs") == nullptr);
}

TEST_CASE_FIXTURE(OnEvidence, "idle: what is waited for is told apart from what is at rest") {
    idle(5s);
    settings().deregistration_delay = 30s;
    evidence.visits = {{.rests_from = 0s}, {}, {.rests_from = 1s}};
    const auto record = run();
    CHECK(detail<std::string>(record, 1, "waitingFor") ==
          "1 open connection (2 at rest) behind fake:blind");
}

TEST_CASE_FIXTURE(Stopping, "a close is the moment to ask a load balancer that is polled") {
    watches[0].membership.poll = 60s;
    load_balancer->unused_after = 7s;
    evidence.visits = {{.to = 7s}};
    CHECK(story(run())[1] == "DRAIN 0-7 completed");
}

TEST_CASE_FIXTURE(Stopping,
                  "a load balancer that waits for its own settle time is asked at its end") {
    watches[0].membership.poll = 60s;
    load_balancer->unused_after = 7s;
    load_balancer->again = 7s;
    evidence.visits = {};
    CHECK(story(run())[1] == "DRAIN 0-7 completed");
}

TEST_CASE_FIXTURE(Stopping,
                  "however much closes, a load balancer gets a breath between questions") {
    load_balancer->unused_after = 10s;
    evidence.visits.clear();
    for (int number = 0; number < 5000; ++number) {
        evidence.visits.push_back({.to = 1s + number * 1ms});
    }
    run();
    CHECK(load_balancer->asked < 1400);  // 5 s of closes, 5 ms apart, and 50 ms apart before
    CHECK(load_balancer->asked > 1000);
}
