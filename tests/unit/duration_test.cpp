#include "agent/config/duration.hpp"

#include <doctest/doctest.h>

#include <utility>

namespace lastcall {

using namespace std::chrono_literals;

TEST_CASE("durations are read as Go reads them") {
    const std::pair<const char*, Clock::duration> cases[] = {
        {"0", 0s},
        {"0s", 0s},
        {"-0", 0s},
        {"5s", 5s},
        {"1478s", 1478s},
        {"-5s", -5s},
        {"+5s", 5s},
        {"5.0s", 5s},
        {"5.6s", 5600ms},
        {"5.s", 5s},
        {".5s", 500ms},
        {"1.004s", 1004ms},
        {"100.00100s", 100'001ms},
        {"10ns", 10ns},
        {"11us", 11us},
        {"12\xc2\xb5s", 12us},
        {"12\xce\xbcs", 12us},
        {"13ms", 13ms},
        {"15m", 15min},
        {"16h", 16h},
        {"3h30m", 3h + 30min},
        {"1m30s", 90s},
        {"10.5s4m", 4min + 10500ms},
        {"-2m3.4s", -(2min + 3400ms)},
        {"1h2m3s4ms5us6ns", 1h + 2min + 3s + 4ms + 5us + 6ns},
        {"52763797000ns", 52763797000ns},
        {"0.3333333333333333333h", 20min - 1ns},
        {"0.100000000000000000000h", 6min},
        {"0.9223372036854775807h", 3320413933267ns},
        {"9007199254740993ns", 9007199254740993ns},
        {"9223372036854775807ns", Clock::duration::max()},
        {"9223372036854775.807us", Clock::duration::max()},
        {"9223372036s854ms775us807ns", Clock::duration::max()},
        {"-9223372036854775808ns", Clock::duration::min()},
    };
    for (const auto& [text, expected] : cases) {
        const auto duration = parse_duration(text);
        REQUIRE_MESSAGE(duration, text);
        CHECK_MESSAGE(*duration == expected, text);
    }
}

TEST_CASE("a bare number is seconds") {
    CHECK(parse_duration("30") == 30s);
    CHECK(parse_duration("2.5") == 2500ms);
    CHECK(parse_duration(".5") == 500ms);
    CHECK(parse_duration("-10") == -10s);
    CHECK(parse_duration("9223372036") == 9223372036s);
}

TEST_CASE("what is no duration is refused") {
    for (const auto text : {"",
                            "+",
                            "-",
                            "s",
                            ".",
                            "-.",
                            ".s",
                            "+.s",
                            "1d",
                            "30S",
                            "1H",
                            "invalid",
                            " 30s",
                            "30s ",
                            "30 s",
                            "1m30",
                            "5s3",
                            "3000000h",
                            "1e3s",
                            "0x10s",
                            "1,5s",
                            "--5s",
                            "-+5s",
                            "1..5s",
                            "5ss",
                            "5mm",
                            "\xc2\xb5s",
                            "1\xb5s",
                            "9223372036854775808ns",
                            "9223372036854775.808us",
                            "9223372036854ms775us808ns",
                            "-9223372036854775809ns",
                            "9223372037",
                            "99999999999999999999999h",
                            "nan",
                            "inf"}) {
        CHECK_MESSAGE(!parse_duration(text), text);
    }
}

TEST_CASE("durations are written in Go's shortest form") {
    const std::pair<Clock::duration, const char*> cases[] = {
        {0s, "0s"},
        {1ns, "1ns"},
        {1100ns, "1.1\xc2\xb5s"},
        {500ms, "500ms"},
        {1500us, "1.5ms"},
        {30s, "30s"},
        {2500ms, "2.5s"},
        {90s, "1m30s"},
        {300s, "5m"},
        {3h, "3h"},
        {1h + 500ms, "1h0.5s"},
        {25h + 1min, "25h1m"},
        {-10s, "-10s"},
        {Clock::duration::max(), "2562047h47m16.854775807s"},
        {Clock::duration::min(), "-2562047h47m16.854775808s"},
    };
    for (const auto& [duration, text] : cases) {
        CHECK(format_duration(duration) == text);
        CHECK_MESSAGE(parse_duration(text) == duration, text);
    }
}

}  // namespace lastcall
