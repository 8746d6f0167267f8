#include "agent/log_line.hpp"

#include <doctest/doctest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

namespace lastcall {
namespace {

using namespace std::chrono;

const Clock::utc_time at = sys_days(2018y / October / 1) + 1h + 2min + 3s;

std::string line(LogFormat format, std::string_view message, std::initializer_list<Field> fields,
                 std::size_t longest = 4096) {
    return log_line(format, {at, Level::info, message, fields}, longest);
}

}  // namespace

TEST_CASE("a line looks like the ECS agent's") {
    CHECK(line(LogFormat::logfmt, "Stopping container", {{"task", "web"}, {"container", "web1"}}) ==
          "level=info time=2018-10-01T01:02:03Z msg=\"Stopping container\" task=\"web\" "
          "container=\"web1\"\n");
    CHECK(line(LogFormat::json, "Stopping container", {{"task", "web"}}) ==
          "{\"level\":\"info\",\"time\":\"2018-10-01T01:02:03Z\",\"msg\":\"Stopping container\","
          "\"task\":\"web\"}\n");
}

TEST_CASE("numbers and booleans are bare, but never a name that looks like one") {
    CHECK(
        line(LogFormat::json, "m",
             {{"durationMs", "1830.4"},
              {"connections", "-12"},
              {"forced", "true"},
              {"task", "7"},
              {"a", "007"},
              {"b", "1."},
              {"c", "1e3"},
              {"d", ""},
              {"e", "-"},
              {"f", "nan"}}) ==
        "{\"level\":\"info\",\"time\":\"2018-10-01T01:02:03Z\",\"msg\":\"m\",\"durationMs\":1830.4,"
        "\"connections\":-12,\"forced\":true,\"task\":\"7\",\"a\":\"007\",\"b\":\"1.\",\"c\":"
        "\"1e3\","
        "\"d\":\"\",\"e\":\"-\",\"f\":\"nan\"}\n");
}

TEST_CASE("no value can end a line, forge a field or speak to the terminal") {
    const std::string evil =
        "a\" level=crit \\ \n\t\x1b[2J\x7f\xc2\x9b caf\xc3\xa9 \xff\xed\xa0\x80\xc0\xaf";
    CHECK(line(LogFormat::logfmt, evil, {}) ==
          "level=info time=2018-10-01T01:02:03Z msg=\"a\\\" level=crit \\\\ "
          "\\n\\t\\u001b[2J\\u007f\\u009b "
          "caf\xc3\xa9 \\xff\\xed\\xa0\\x80\\xc0\\xaf\"\n");
    const auto json = boost::json::parse(line(LogFormat::json, evil, {{"value", evil}}));
    CHECK(json.as_object().at("msg").as_string() == json.as_object().at("value").as_string());
    CHECK(json.as_object().at("msg").as_string().starts_with("a\" level=crit \\ \n\t\x1b[2J"));
}

TEST_CASE("whatever is said, the line keeps within its bound and its form") {
    std::string cut_character(4000, 'x');
    for (int i = 0; i < 100; ++i) cut_character += "\xe2\x82\xac";
    const std::string huge(100'000, 'y');
    const std::string controls(3000, '\x01');
    for (const std::size_t longest : {512u, 4095u}) {
        for (const auto& text : {cut_character, huge, controls}) {
            for (const auto format : {LogFormat::logfmt, LogFormat::json}) {
                const auto whole = line(format, text,
                                        {{"task", "web"},
                                         {"reason", text},
                                         {"error", text},
                                         {"a", text},
                                         {"b", text},
                                         {"c", text},
                                         {"d", text}},
                                        longest);
                CHECK(whole.size() <= longest);
                CHECK(whole.ends_with('\n'));
                CHECK(whole.find("…") != std::string::npos);
                if (format == LogFormat::json) CHECK_NOTHROW(boost::json::parse(whole));
            }
        }
    }
    const auto whole =
        line(LogFormat::logfmt, "m", {{"task", "web"}, {"reason", huge}, {"outcome", "killed"}});
    CHECK(whole.find("task=\"web\"") != std::string::npos);
    CHECK(whole.find("outcome=\"killed\"") != std::string::npos);
}

}  // namespace lastcall
