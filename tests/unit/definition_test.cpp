#include "agent/definition.hpp"

#include <doctest/doctest.h>

using namespace lastcall;
using namespace std::chrono_literals;

TEST_CASE("a deadline that leaves a load balancer no time to settle is told of") {
    StopSettings stop{.stop_deadline = 30s};
    Membership membership{.settle = 10s};
    CHECK_FALSE(tight_deadline(stop, membership));
    membership.settle = 120s;  // a network load balancer's
    CHECK(tight_deadline(stop, membership) ==
          "The stop deadline of 30s leaves 14.5s to drain, and a load balancer needs 2m to settle: "
          "lengthen what the deadline stands for");
    stop.stop_timeout = 25s;
    membership.settle = 10s;
    CHECK(
        tight_deadline(stop, membership) ==
        "A stop timeout of 25s leaves 4s of the stop deadline of 30s to drain, and a load balancer "
        "needs 10s to settle: shorten the stop timeout, or lengthen what the deadline stands for");
    stop.stop_timeout = 5s;
    CHECK_FALSE(tight_deadline(stop, membership));
    stop.stop_timeout = 1h;
    CHECK(tight_deadline(stop, membership)->find("leaves 0s of") != std::string::npos);
    stop.stop_deadline.reset();
    CHECK_FALSE(tight_deadline(stop, membership));
}

TEST_CASE("a delay that is longer than the load balancer's own is told of, if somebody chose it") {
    StopSettings stop{.deregistration_delay = 90s, .delay_is_chosen = true};
    Membership membership{.delay = 60s};
    CHECK(
        longer_delay(stop, membership) ==
        "A deregistration delay of 1m30s is longer than the load balancer's own of 1m, which cuts "
        "what is left by then: shorten the one, or lengthen the other");
    stop.delay_is_chosen = false;
    CHECK_FALSE(longer_delay(stop, membership));
    stop = {.deregistration_delay = 60s, .delay_is_chosen = true};
    CHECK_FALSE(longer_delay(stop, membership));
    membership.delay.reset();
    CHECK_FALSE(longer_delay(stop, membership));
}
