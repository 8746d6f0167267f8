#include "agent/utc.hpp"

#include <doctest/doctest.h>

namespace lastcall {

using namespace std::chrono;

TEST_CASE("UTC is written with microseconds, or as the ECS agent's log has it") {
    const Clock::utc_time at = sys_days(2018y / October / 1) + 1h + 2min + 3s + 45678us;
    CHECK(utc_text(at) == "2018-10-01T01:02:03.045678Z");
    CHECK(utc_seconds_text(at) == "2018-10-01T01:02:03Z");
    CHECK(utc_text(at + 999ns) == "2018-10-01T01:02:03.045678Z");
    CHECK(utc_text(Clock::utc_time{} - 1us) == "1969-12-31T23:59:59.999999Z");
}

TEST_CASE("UTC is read as it is written") {
    for (const auto at :
         {Clock::utc_time{}, Clock::utc_time{} - 1us,
          Clock::utc_time(sys_days(2024y / February / 29) + 23h + 59min + 59s + 1us)}) {
        CHECK(utc_time(utc_text(at)) == at);
        CHECK(utc_time(utc_seconds_text(at)) == floor<seconds>(at));
    }
    for (const auto text :
         {"", "2018-10-01", "2018-10-01T01:02:03", "2018-10-01 01:02:03Z", "2018-02-29T01:02:03Z",
          "2018-13-01T01:02:03Z", "2018-10-01T24:02:03Z", "2018-10-01T01:60:03Z",
          "2018-10-01T01:02:60Z", "2018-10-01T01:02:03.045678", "2018-10-01T01:02:03.04567xZ",
          "2018-10-01T01:02:03.-45678Z", "2018-10-01T01:02:03.045678+", "-018-10-01T01:02:03Z",
          "2262-01-01T00:00:00Z", "7442-01-31T12:00:00Z", "1677-12-31T00:00:00Z"}) {
        CHECK_MESSAGE(!utc_time(text), text);
    }
}

}  // namespace lastcall
