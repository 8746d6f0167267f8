#include <doctest/doctest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "agent/api/types.hpp"
#include "cli/draw/canvas.hpp"
#include "cli/draw/json.hpp"
#include "cli/draw/table.hpp"
#include "cli/draw/time.hpp"

using namespace lastcall::cli;
namespace api = lastcall::api;

namespace {

constexpr Canvas file = {.width = 0, .colour = false, .utf8 = true};
constexpr Canvas ascii = {.width = 0, .colour = false, .utf8 = false};

}  // namespace

TEST_CASE("draw: durations read as people say them") {
    CHECK(duration(0) == "0 ms");
    CHECK(duration(-3) == "0 ms");
    CHECK(duration(0.84) == "0.8 ms");
    CHECK(duration(2.04) == "2 ms");
    CHECK(duration(99.94) == "99.9 ms");
    CHECK(duration(99.95) == "100 ms");
    CHECK(duration(999.4) == "999 ms");
    CHECK(duration(999.5) == "1 s");
    CHECK(duration(1834.2) == "1.8 s");
    CHECK(duration(30'000) == "30 s");
    CHECK(duration(59'949) == "59.9 s");
    CHECK(duration(59'950) == "1 min");
    CHECK(duration(298'170) == "4 min 58 s");
    CHECK(duration(300'000) == "5 min");
    CHECK(duration(3'599'600) == "1 h");
    CHECK(duration(7'500'000) == "2 h 5 min");
    CHECK(duration(273'600'000) == "3 d 4 h");
}

TEST_CASE("draw: a countdown ends at 0 s and never shows less than is left") {
    CHECK(countdown(298'170) == "4 min 59 s");
    CHECK(countdown(1) == "1 s");
    CHECK(countdown(1000) == "1 s");
    CHECK(countdown(0) == "0 s");
    CHECK(countdown(-5) == "0 s");
}

TEST_CASE("draw: moments are read strictly, and shown without their fraction") {
    CHECK(moment("1970-01-01T00:00:00Z") == 0);
    CHECK(moment("1970-01-02T00:00:01.5Z") == 86'401'500'000);
    CHECK(moment("2026-01-31T12:00:00.000001Z") == 1'769'860'800'000'001);
    for (const char* wrong :
         {"", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31 12:00:00Z",
          "2026-01-31T12:00:00+00:00", "-026-01-31T12:00:00Z"}) {
        CAPTURE(wrong);
        CHECK(!moment(wrong));
    }
    CHECK(date("2026-01-31T12:00:00.123456Z") == "2026-01-31 12:00:00 UTC");
    CHECK(date("soon") == "soon");
    CHECK(ago("1970-01-01T00:00:10Z", 12'900'000) == "2 s ago");
    CHECK(ago("1970-01-01T00:00:10Z", 10'900'000) == "just now");
    CHECK(ago("1970-01-01T00:00:10Z", 0) == "just now");
}

TEST_CASE("draw: foreign text can't touch the terminal") {
    CHECK(printable(file, "a\x1b[2Jb\nc\x7f") == "a?[2Jb?c?");
    CHECK(printable(file,
                    "\xC2\x9B"
                    "31m") == "?31m");
    CHECK(printable(file, "naïve \xFF\xE2\x86") == "naïve ???");
    CHECK(printable(ascii, "naïve →") == "na?ve ?");
}

TEST_CASE("draw: text is cut and padded by columns, not by bytes") {
    CHECK(cut(file, "→→→→", 4) == "→→→→");
    CHECK(cut(file, "→→→→", 3) == "→→…");
    CHECK(cut(ascii, "abcdef", 5) == "ab...");
    CHECK(cut(ascii, "abcdef", 2) == "");
    CHECK(cut(file, "abcdef", 0) == "abcdef");
    CHECK(pad_right("→", 3) == "→  ");
    CHECK(pad_left("→", 3) == "  →");
}

TEST_CASE("draw: without colour nothing is painted") {
    CHECK(paint(file, Ink::bad, "x") == "x");
    CHECK(paint({.colour = true}, Ink::bad, "x") == "\x1b[31mx\x1b[0m");
    CHECK(paint({.colour = true}, Ink::bad, "") == "");
}

TEST_CASE("draw: a table is as wide as its cells, and as its canvas at most") {
    const std::vector<Column> titles = {{"NAME"}, {"SIZE", true}, {"WHERE"}};
    using Row = std::vector<Cell>;
    const std::vector<Row> rows = {Row{Cell("web"), Cell("12"), Cell("a long way from here")},
                                   Row{Cell("naïve"), Cell(""), Cell("b")}};
    CHECK(table(file, titles, rows) ==
          "NAME   SIZE  WHERE\n"
          "web      12  a long way from here\n"
          "naïve     -  b\n");
    CHECK(table({.width = 22, .utf8 = true}, titles, rows) ==
          "NAME   SIZE  WHERE\n"
          "web      12  a long w…\n"
          "naïve     -  b\n");
}

TEST_CASE("draw: JSON is indented, in order, with plain numbers") {
    const api::json::value value = {{"b", 1834.2}, {"a", {1, api::json::object()}}, {"c", nullptr}};
    CHECK(pretty(value) ==
          "{\n  \"b\": 1834.2,\n  \"a\": [\n    1,\n    {}\n  ],\n  \"c\": null\n}\n");
}
