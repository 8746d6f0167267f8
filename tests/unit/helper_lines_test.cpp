#include "agent/lb/helper_lines.hpp"

#include <doctest/doctest.h>

using namespace lastcall;
using namespace lastcall::helper;
using namespace std::chrono_literals;

namespace {

/// What is said of a line that isn't one.
std::string trouble(const std::string& line) {
    try {
        read_answers(line);
    } catch (const BadLine& error) {
        return error.what();
    }
    return "";
}
std::string greeting_trouble(const std::string& line) {
    try {
        read_greeting(line);
    } catch (const BadLine& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a greeting says what a helper can") {
    const auto greeting = read_greeting(
        R"({"helper":"agent-lb-x","version":"1.2","protocol":1,"abilities":["batch","dance"],"x":{}})");
    CHECK(greeting.name == "agent-lb-x");
    CHECK(greeting.version == "1.2");
    CHECK(greeting.batches);
    CHECK_FALSE(greeting.registers);
    CHECK_FALSE(greeting.cancels);
    CHECK_FALSE(greeting.watches);
}

TEST_CASE("what is no greeting is refused, and why is said") {
    CHECK(greeting_trouble("hello").starts_with("it wrote 'hello', expected a line of JSON"));
    CHECK(greeting_trouble("{}").starts_with("it wrote '{}', expected a greeting like"));
    CHECK(greeting_trouble(R"({"helper":"x","protocol":2,"abilities":[]})") ==
          "it speaks protocol 2, expected 1");
    CHECK(greeting_trouble(R"({"helper":"x","protocol":"1","abilities":[]})")
              .ends_with("expected \"protocol\" to be a whole number from 0 to 1000000"));
    CHECK(greeting_trouble(R"({"helper":"x","protocol":1})")
              .ends_with("expected \"abilities\" to be an array"));
    CHECK(greeting_trouble(R"({"protocol":1,"abilities":[]})").find("a greeting like") !=
          std::string::npos);
}

TEST_CASE("answers are read, alone and in an array") {
    auto answers = read_answers(R"({"id":7,"state":"draining","connections":3})");
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].id == 7);
    CHECK(answers[0].state == State::draining);
    CHECK(answers[0].connections == 3);
    CHECK_FALSE(ends(answers[0]));
    answers = read_answers(
        R"( [ {"id":1,"state":"drained"}, {"id":2,"error":"cannot x: no","retry":true} ] )");
    REQUIRE(answers.size() == 2);
    CHECK(ends(answers[0]));
    CHECK(ends(answers[1]));
    CHECK(answers[1].error == "cannot x: no");
    CHECK(answers[1].retry);
    answers = read_answers(R"({"id":3,"note":"two\nlines"})");
    CHECK(answers[0].note == "two lines");
    CHECK_FALSE(ends(answers[0]));
}

TEST_CASE("what only the load balancer knows comes with `known`") {
    const auto all = read_answers(
        R"({"id":1,"state":"known","knows":true,"settleMs":0,"delayMs":60000,"register":false,)"
        R"("port":8080,"target":"web","warning":"look out"})");
    const auto& manners = all.front().manners;
    CHECK(manners.knows);
    CHECK(manners.settle == 0s);
    CHECK(manners.delay == 60s);
    CHECK(manners.registers == false);
    CHECK(manners.port == 8080);
    CHECK(manners.target == "web");
    CHECK(manners.warning == "look out");
    const auto none = read_answers(R"({"id":1,"state":"known"})").front().manners;
    CHECK_FALSE(none.knows);
    CHECK_FALSE(none.settle);
    CHECK_FALSE(none.delay);
    CHECK_FALSE(none.port);
}

TEST_CASE("a notice has a time") {
    const auto answer =
        read_answers(
            R"({"id":1,"notice":"SpotInterruption","reason":"r","at":"1970-01-01T00:00:10Z"})")
            .front();
    CHECK(answer.notice == "SpotInterruption");
    CHECK(answer.reason == "r");
    REQUIRE(answer.at);
    CHECK(answer.at->time_since_epoch() == 10s);
    CHECK_FALSE(ends(answer));
}

TEST_CASE("what is no answer is refused, and why is said") {
    for (const auto* line : {"", "x", "{", "nil", "{\"id\":1", "[{]", "{\"id\":1}{}"}) {
        INFO(line);
        CHECK(trouble(line).ends_with("expected a line of JSON"));
    }
    CHECK(trouble("17") == "it wrote '17', expected a JSON object");
    CHECK(trouble("[1]") == "it wrote '[1]', expected a JSON object");
    CHECK(trouble(R"({"state":"drained"})").ends_with("expected an \"id\""));
    for (const auto* id : {"0", "-1", "1.5", "\"1\"", "99999999999999999999", "null"}) {
        INFO(id);
        CHECK(trouble(std::string("{\"id\":") + id + ",\"note\":\"\"}").find("whole number") !=
              std::string::npos);
    }
    const std::string one_of = "expected one of \"state\", \"note\", \"error\" and \"notice\"";
    CHECK(trouble(R"({"id":1})").ends_with(one_of));
    CHECK(trouble(R"({"id":1,"state":"drained","error":"x"})").ends_with(one_of));
    CHECK(trouble(R"({"id":1,"state":"gone"})").find("expected \"state\" to be known, ") !=
          std::string::npos);
    CHECK(trouble(R"({"id":1,"error":""})").ends_with("\"error\" to say what is wrong"));
    CHECK(trouble(R"({"id":1,"error":"x","retry":1})").ends_with("\"retry\" to be true or false"));
    CHECK(trouble(R"({"id":1,"state":"draining","connections":-1})").find("whole number from 0") !=
          std::string::npos);
    CHECK(trouble(R"({"id":1,"state":"known","port":70000})").find("from 1 to 65535") !=
          std::string::npos);
    CHECK(trouble(R"({"id":1,"state":"known","delayMs":3600001})").find("from 0 to 3600000") !=
          std::string::npos);
    CHECK(trouble(R"({"id":1,"notice":"x","at":"soon"})").find("to be a time like") !=
          std::string::npos);
    const std::string control = "\x1b[31m" + std::string(300, 'x');
    CHECK(trouble(control).find('\x1b') == std::string::npos);
    CHECK(trouble(control).size() < 200);
}

TEST_CASE("requests are written so that a shell can read them") {
    const auto line = [](const Request& request) { return lines({request}, true).front(); };
    CHECK(line({.id = 1, .verb = Verb::check, .url = "f5:?pool=a/b"}) ==
          R"({"id":1,"do":"check","url":"f5:?pool=a/b"})");
    CHECK(line({.id = 2, .verb = Verb::cancel}) == R"({"id":2,"do":"cancel"})");
    CHECK(line({.id = 3, .verb = Verb::watch, .spot = true, .hook = "g/h"}) ==
          R"({"id":3,"do":"watch","spot":true,"hook":"g/h"})");
    CHECK(line({.id = 4, .verb = Verb::complete, .result = "CONTINUE"}) ==
          R"({"id":4,"do":"complete","result":"CONTINUE"})");
}

TEST_CASE("requests go together only to a helper that takes batches, and in lines that fit") {
    std::vector<Request> requests;
    for (std::uint64_t id = 1; id <= 3; ++id) {
        requests.push_back({.id = id, .verb = Verb::deregister, .url = "x:y"});
    }
    CHECK(lines(requests, false).size() == 3);
    const auto together = lines(requests, true);
    REQUIRE(together.size() == 1);
    CHECK(together.front() == R"([{"id":1,"do":"deregister","url":"x:y"},)"
                              R"({"id":2,"do":"deregister","url":"x:y"},)"
                              R"({"id":3,"do":"deregister","url":"x:y"}])");
    for (auto& request : requests) request.url = std::string(longest_line / 2 - 20, 'x');
    for (const auto& each : lines(requests, true)) CHECK(each.size() < longest_line);
    CHECK(lines(requests, true).size() == 3);
    for (auto& request : requests) request.url = std::string(longest_line / 2 - 60, 'x');
    const auto parted = lines(requests, true);
    REQUIRE(parted.size() == 2);
    CHECK(parted[0].starts_with("[{"));
    CHECK(parted[0].ends_with("}]"));
    CHECK(parted[1].starts_with("{"));
}

TEST_CASE("a stream is taken apart, wherever it was cut") {
    Lines stream;
    std::vector<std::string> found;
    for (const char each : std::string("one\n\ntwo\nthree")) {
        stream.add(std::string(1, each));
        while (auto line = stream.next()) found.push_back(*line);
    }
    CHECK(found == std::vector<std::string>{"one", "", "two"});
    stream.add("\n");
    CHECK(stream.next() == "three");
    CHECK(stream.next() == std::nullopt);
}

TEST_CASE("a line is as long as the protocol allows, and no longer") {
    Lines stream;
    stream.add(std::string(longest_line - 1, 'x') + "\n");
    CHECK(stream.next()->size() == longest_line - 1);
    stream.add(std::string(longest_line, 'x'));
    CHECK(stream.next() == std::nullopt);  // its newline may still come … too late
    stream.add("\n");
    CHECK_THROWS_AS(stream.next(), BadLine);
    Lines endless;
    endless.add(std::string(longest_line + 1, 'x'));
    CHECK_THROWS_AS(endless.next(), BadLine);
}

TEST_CASE("a helper's text becomes one line") {
    CHECK(one_line("a\nb\tc\x1b") == "a b c ");
    CHECK(one_line("grün") == "grün");
    const std::string umlauts = [] {
        std::string text = "x";
        for (int i = 0; i < 400; ++i) text += "ü";
        return text;
    }();
    const auto cut = one_line(umlauts);
    CHECK(cut.size() <= 504);
    CHECK(cut.ends_with("ü…"));
}
