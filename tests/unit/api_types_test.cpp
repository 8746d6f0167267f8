#include "agent/api/types.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace lastcall::api;

namespace {

Stop sample_stop() {
    Stop stop;
    stop.id = "0123456789abcdef0123456789abcdef";
    stop.task = "web1";
    stop.stopCode = "UserInitiated";
    stop.stoppedReason = "Task stopped by user";
    stop.requestedBy = {0, 4711, "api"};
    stop.requestedAt = "2026-01-31T12:00:00.000000Z";
    stop.stoppedAt = "2026-01-31T12:00:01.834200Z";
    stop.durationMs = 1834.2;
    stop.outcome = "graceful";
    stop.deregistrationDelayMs = 300000;
    stop.savedMs = 298170.1;
    stop.containers = {{"web1", 0, std::nullopt, std::nullopt, std::nullopt}};
    stop.phases = {{"DEREGISTER",
                    std::nullopt,
                    "2026-01-31T12:00:00.000010Z",
                    0.8,
                    "completed",
                    {{"loadBalancer", "haproxy:///s"}, {"attempts", 1}}},
                   {"SIGTERM",
                    "web1",
                    "2026-01-31T12:00:01.832000Z",
                    2.1,
                    "completed",
                    {{"signal", "SIGTERM"}, {"stopTimeoutMs", 30000}}}};
    return stop;
}

/// What `from_json` has against `text`.
template <class Shape>
std::string refusal(std::string_view text) {
    try {
        from_json<Shape>(parse(text));
    } catch (const Malformed& malformed) {
        return malformed.what();
    }
    return "nothing";
}

template <class Shape>
void check_round_trip(const Shape& shape) {
    const std::string text = to_text(to_json(shape));
    CHECK(to_text(to_json(from_json<Shape>(parse(text)))) == text);
}

}  // namespace

TEST_CASE("a stop's record is the one of the documents, key by key") {
    CHECK(
        to_text(to_json(sample_stop())) ==
        R"({"id":"0123456789abcdef0123456789abcdef","task":"web1","stopCode":"UserInitiated",)"
        R"("stoppedReason":"Task stopped by user","requestedBy":{"uid":0,"pid":4711,"via":"api"},)"
        R"("requestedAt":"2026-01-31T12:00:00.000000Z","stoppedAt":"2026-01-31T12:00:01.834200Z",)"
        R"("durationMs":1834.2,"outcome":"graceful","survivors":0,"deregistrationDelayMs":300000,)"
        R"("savedMs":298170.1,"containers":[{"name":"web1","exitCode":0,"signal":null,)"
        R"("killedBy":null,"reason":null}],"phases":[{"phase":"DEREGISTER",)"
        R"("startedAt":"2026-01-31T12:00:00.000010Z","durationMs":0.8,"outcome":"completed",)"
        R"("detail":{"loadBalancer":"haproxy:///s","attempts":1}},{"phase":"SIGTERM",)"
        R"("container":"web1","startedAt":"2026-01-31T12:00:01.832000Z","durationMs":2.1,)"
        R"("outcome":"completed","detail":{"signal":"SIGTERM","stopTimeoutMs":30000}}]})");
}

TEST_CASE("a stop that goes on has no end and no outcome") {
    Stop stop = sample_stop();
    stop.stoppedAt.reset();
    stop.outcome.reset();
    stop.phases.back().outcome.reset();
    const json::value value = to_json(stop);
    CHECK_FALSE(value.get_object().contains("stoppedAt"));
    CHECK_FALSE(value.get_object().contains("outcome"));
    check_round_trip(stop);
}

TEST_CASE("survivors are a count, and named only if there are any") {
    Stop stop = sample_stop();
    CHECK_FALSE(to_json(stop).get_object().contains("survivorDetails"));
    stop.survivors = 1;
    stop.survivorDetails = {{4242, "nfs-writer", "D", "rpc_wait_bit_killable"}};
    CHECK(to_json(stop).at("survivors") == 1);
    CHECK(to_json(stop).at("survivorDetails").at(0).at("waitChannel") == "rpc_wait_bit_killable");
    check_round_trip(stop);
}

TEST_CASE("every shape survives the way to JSON and back, full and empty") {
    check_round_trip(sample_stop());
    check_round_trip(Progress{sample_stop(), 3, "3 connections", "SIGTERM", 1200.5});
    check_round_trip(Progress{});
    Task task;
    task.name = "web1";
    task.lastStatus = "DEACTIVATING";
    task.desiredStatus = "STOPPED";
    task.stopCode = "UserInitiated";
    task.stoppedReason = "Task stopped by user";
    task.createdAt = "2026-01-31T12:00:00.000000Z";
    task.startedAt = task.stoppingAt = task.stoppedAt = task.createdAt;
    task.containers = {{"web1", 77, 3, "SIGKILL", "reason", {"nginx", "-g", ""}, "/log"}, {}};
    task.loadBalancers = {"haproxy:///run/h?server=web/web1"};
    task.ports = {80, 65535};
    task.connections = 0;
    task.stopTimeoutMs = 2000;
    task.deregistrationDelayMs = 0.5;
    task.stopping = Progress{sample_stop(), {}, "", {}, {}};
    task.survivors = {{1, "a", "D", ""}};
    check_round_trip(task);
    check_round_trip(Task{});
    check_round_trip(TaskList{{task, Task{}}});
    check_round_trip(StopList{{sample_stop(), Stop{}}});
    check_round_trip(SettingList{{{"AGENT_DRAIN", "--drain", "closed", "default"}}});
    check_round_trip(Metadata{"default", "0.1.0", 7, "serve"});
    check_round_trip(SignalRequest{"HUP"});
    check_round_trip(StopRequest{});
    check_round_trip(StopRequest{false, true, "5s", "1m", "INT", "because"});
    check_round_trip(Problem{"about:blank", "Not Found", "no such task", 404, {}});
    check_round_trip(Problem{"about:blank", "Unkillable", "", 500, sample_stop()});
}

TEST_CASE("a request without wishes says nothing") {
    CHECK(to_text(to_json(StopRequest{})) == "{}");
    CHECK(from_json<StopRequest>(parse("{}")).drain);
    RunRequest run;
    run.name = "web";
    run.command = {"sleep", "9"};
    CHECK(to_text(to_json(run)) == R"({"name":"web","command":["sleep","9"]})");
}

TEST_CASE("no load balancers at all is another wish than the agent's own") {
    RunRequest run;
    run.loadBalancers.emplace();
    const RunRequest read = from_json<RunRequest>(to_json(run));
    REQUIRE(read.loadBalancers.has_value());
    CHECK(read.loadBalancers->empty());
    CHECK_FALSE(from_json<RunRequest>(to_json(RunRequest{})).loadBalancers.has_value());
}

TEST_CASE("a run request keeps every wish") {
    RunRequest run;
    run.name = "web";
    run.command = {"nginx"};
    run.environment = {"A=b"};
    run.workingDirectory = "/srv";
    run.ports = {80};
    run.loadBalancers = {"readiness://0.0.0.0:81/r"};
    run.stopTimeout = "5s";
    run.deregistrationDelay = "1m";
    run.deregisterTimeout = "2s";
    run.drain = "strict";
    run.drainIdle = "1s";
    run.drainSignal = "USR1";
    run.stopSignal = "QUIT";
    run.signalScope = "group";
    run.stopDeadline = "none";
    run.preStop = "sleep 1";
    run.preStopTimeout = "3";
    CHECK(to_json(run).get_object().size() == 17);
    check_round_trip(run);
}

TEST_CASE("what doesn't fit is refused in one line that names it") {
    CHECK(refusal<StopRequest>(R"({"drain":7})") == "'drain' must be true or false, not 7");
    CHECK(refusal<StopRequest>(R"({"timeout":5})") == "'timeout' must be text, not 5");
    CHECK(refusal<StopRequest>(R"({"reason":null})") == "'reason' must be text, not null");
    CHECK(refusal<StopRequest>(R"([1])") == "the whole must be an object, not [1]");
    CHECK(refusal<RunRequest>(R"({"name":"a"})") == "'command' is missing");
    CHECK(refusal<RunRequest>(R"({"name":"a","command":"ls -l"})") ==
          "'command' must be a list, not \"ls -l\"");
    CHECK(refusal<RunRequest>(R"({"name":"a","command":["ls",{"a":1}]})") ==
          "'command[1]' must be text, not {\"a\":1}");
    CHECK(refusal<RunRequest>(R"({"name":"a","command":[],"ports":[9223372036854775808]})") ==
          "'ports[0]' must be a whole number within 64 bits, not 9223372036854775808");
    CHECK(refusal<RunRequest>(R"({"name":"a","command":[],"ports":[80.5]})") ==
          "'ports[0]' must be a whole number within 64 bits, not 80.5");
    CHECK(
        refusal<Stop>(R"({"id":"","task":"","stopCode":"","stoppedReason":"","requestedBy":{}})") ==
        "'requestedBy.via' is missing");
    CHECK(refusal<Progress>(R"({"stop":{}})") == "'stop.id' is missing");
}

TEST_CASE("a key that nobody knows is refused in a request, and overlooked in an answer") {
    CHECK(refusal<StopRequest>(R"({"drian":false})") ==
          "'drian' is unknown; known are drain, force, timeout, drainTimeout, signal, reason");
    CHECK(refusal<SignalRequest>(R"({"signal":"HUP","x":1})") ==
          "'x' is unknown; known are signal");
    CHECK(refusal<Metadata>(R"({"Cluster":"c","Version":"9","pid":1,"mode":"run","new":[]})") ==
          "nothing");
}

TEST_CASE("a long value is cut in its refusal, between two characters") {
    std::string longer(59, 'x');
    for (int i = 0; i < 99; ++i) longer += "é";
    const std::string said = refusal<StopRequest>("{\"drain\":\"" + longer + "\"}");
    CHECK(said == "'drain' must be true or false, not \"" + longer.substr(0, 59) + "…");
}

TEST_CASE("numbers are written as people read them") {
    CHECK(to_text(json::value(1834.2)) == "1834.2");
    CHECK(to_text(json::value(300000.0)) == "300000");
    CHECK(to_text(json::value(0.001)) == "0.001");
    CHECK(to_text(json::value(1e21)) == "1000000000000000000000");
    CHECK(to_text(json::value(std::numeric_limits<double>::max())).size() == 309);
    CHECK(to_text(json::value(std::numeric_limits<double>::infinity())) == "null");
    CHECK(to_text(json::value(std::numeric_limits<std::int64_t>::min())) == "-9223372036854775808");
}

TEST_CASE("text is escaped, and bytes that are no UTF-8 can't spoil it") {
    CHECK(to_text(json::value("a\"b\\c\n\t\r\x01\x7F/é€😀")) ==
          R"("a\"b\\c\n\t\u000d\u0001\u007f/é€😀")");
    const std::string replaced = "\"\uFFFDx\"";
    CHECK(to_text(json::value("\xFFx")) == replaced);
    CHECK(to_text(json::value("\xC3x")) == replaced);
    CHECK(to_text(json::value("\xC0\xAF")) == "\"\uFFFD\uFFFD\"");            // overlong
    CHECK(to_text(json::value("\xED\xA0\x80")) == "\"\uFFFD\uFFFD\uFFFD\"");  // a surrogate
    CHECK(to_text(json::value("\xF0\x9F\x98")) == "\"\uFFFD\uFFFD\uFFFD\"");  // cut off
    CHECK(parse(to_text(json::value("\xFF\xC3"))) == json::value("\uFFFD\uFFFD"));
}

TEST_CASE("lists and objects keep their order and nest") {
    const std::string text = R"({"b":[],"a":{},"c":[1,-2,true,false,null,"x",{"d":0.5}]})";
    CHECK(to_text(parse(text)) == text);
}

TEST_CASE("what is no JSON is refused with the place") {
    const auto trouble = [](std::string_view text) {
        try {
            parse(text);
        } catch (const Malformed& malformed) {
            return std::string(malformed.what());
        }
        return std::string("nothing");
    };
    CHECK(trouble("{\"a\":tru}").starts_with("cannot read JSON: "));
    CHECK(trouble("{\"a\":tru}").ends_with(" at byte 6"));
    CHECK(trouble("").starts_with("cannot read JSON: "));
    CHECK(trouble("{} {}").ends_with(" at byte 4"));
    CHECK(trouble("\"\xFF\"").starts_with("cannot read JSON: "));
    CHECK(trouble(std::string(100, '[')).starts_with("cannot read JSON: "));
    CHECK(trouble("[1e999]") == "nothing");
    CHECK(refusal<Progress>(R"({"stop":)" + to_text(to_json(sample_stop())) +
                            R"(,"waitingFor":"","nextInMs":1e999})") ==
          "'nextInMs' must be a number that a double can hold, not null");
}
