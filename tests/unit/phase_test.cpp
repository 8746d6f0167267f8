#include "supervisor/phase.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

namespace lastcall {

TEST_CASE("phases and outcomes have the record's spelling") {
    CHECK(to_string(Phase::deregister) == "DEREGISTER");
    CHECK(to_string(Phase::pre_stop) == "PRE_STOP");
    CHECK(to_string(Phase::cleanup) == "CLEANUP");
    CHECK(to_string(Outcome::timed_out) == "timed_out");
    CHECK(to_string(Outcome::interrupted) == "interrupted");
    CHECK(to_string(StopOutcome::graceful) == "graceful");
    CHECK(to_string(StopOutcome::unkillable) == "unkillable");
    CHECK_THROWS_AS(to_string(static_cast<Phase>(99)), std::logic_error);
}

TEST_CASE("a detail keeps its facts in the order they were learnt") {
    Detail detail;
    detail.set("connectionsAtStart", std::int64_t{12});
    detail.set("signal", std::string("SIGTERM"));
    detail.set("connectionsAtStart", std::int64_t{13});
    REQUIRE(detail.entries().size() == 2);
    CHECK(detail.entries()[0].first == "connectionsAtStart");
    CHECK(std::get<std::int64_t>(*detail.find("connectionsAtStart")) == 13);
    CHECK(std::get<std::string>(*detail.find("signal")) == "SIGTERM");
    CHECK(detail.find("exitCode") == nullptr);
}

TEST_CASE("who asked is told with what is known") {
    CHECK(to_string(Requester{0, 4711, "api"}) == "uid 0, pid 4711, via api");
    CHECK(to_string(Requester{{}, 1, "signal"}) == "pid 1, via signal");
    CHECK(to_string(Requester{{}, {}, "shutdown"}) == "via shutdown");
    CHECK(to_string(Requester{}).empty());
}

}  // namespace lastcall
