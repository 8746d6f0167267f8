#include <doctest/doctest.h>

#include <csignal>

#include "agent/signals.hpp"

using namespace lastcall;

namespace {
constexpr Clock::time_point zero{};
const Requester somebody{.uid = 0, .pid = 7, .via = "signal"};
}  // namespace

TEST_CASE("SIGTERM starts a stop; repeated it asks for nothing shorter") {
    StopSignals signals(std::nullopt);
    for (const auto at : {0s, 1s, 2s, 10s}) {
        const auto wish = signals.wish(SIGTERM, somebody, zero + at);
        REQUIRE(wish);
        CHECK(wish->drain);
        CHECK_FALSE(wish->force);
        CHECK(wish->signal == SIGTERM);
        CHECK(wish->by == somebody);
    }
}

TEST_CASE("a second SIGINT ends the drain, a third kills") {
    StopSignals signals(std::nullopt);
    CHECK(signals.wish(SIGINT, somebody, zero)->drain);
    CHECK_FALSE(signals.wish(SIGINT, somebody, zero + 2s)->drain);
    CHECK(signals.wish(SIGINT, somebody, zero + 4s)->force);
}

TEST_CASE("two SIGINT within a second count as one") {
    StopSignals signals(std::nullopt);
    CHECK(signals.wish(SIGINT, somebody, zero)->drain);
    CHECK(signals.wish(SIGINT, somebody, zero + 999ms)->drain);
    CHECK_FALSE(signals.wish(SIGINT, somebody, zero + 1000ms)->drain);
    CHECK_FALSE(signals.wish(SIGINT, somebody, zero + 1500ms)->force);
}

TEST_CASE("the configured stop signal starts a stop too, and is what the process gets") {
    StopSignals signals(SIGQUIT);
    for (const int asked : {SIGQUIT, SIGTERM, SIGINT}) {
        const auto wish = signals.wish(asked, somebody, zero);
        REQUIRE(wish);
        CHECK_FALSE(wish->signal);  // the configured one
    }
    CHECK_FALSE(StopSignals(std::nullopt).wish(SIGQUIT, somebody, zero));
    CHECK_FALSE(signals.wish(SIGHUP, somebody, zero));
}
