#include <doctest/doctest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "cli/draw/canvas.hpp"
#include "cli/draw/json.hpp"
#include "cli/draw/phase.hpp"
#include "cli/draw/stop.hpp"
#include "cli/draw/table.hpp"
#include "cli/draw/task.hpp"
#include "cli/draw/time.hpp"
#include "cli/draw/timeline.hpp"

using namespace lastcall::cli;
namespace api = lastcall::api;

namespace {

constexpr Canvas file = {.width = 0, .colour = false, .utf8 = true};
constexpr Canvas ascii = {.width = 0, .colour = false, .utf8 = false};
constexpr Canvas narrow = {.width = 72, .colour = false, .utf8 = true};

const std::string haproxy = "haproxy:///run/admin.sock?server=web/web1";

api::Phase phase(std::string name, std::string started_at, double milliseconds, std::string outcome,
                 api::json::object detail) {
    api::Phase it;
    it.phase = std::move(name);
    it.startedAt = std::move(started_at);
    it.durationMs = milliseconds;
    it.outcome = std::move(outcome);
    it.detail = std::move(detail);
    return it;
}

api::ContainerEnd exited(std::string name, std::int64_t code) {
    api::ContainerEnd end;
    end.name = std::move(name);
    end.exitCode = code;
    return end;
}

api::ContainerEnd killed(std::string name) {
    api::ContainerEnd end;
    end.name = std::move(name);
    end.signal = end.killedBy = "SIGKILL";
    return end;
}

api::Stop drained() {
    api::Stop stop;
    stop.id = "1";
    stop.task = "web1";
    stop.stopCode = "UserInitiated";
    stop.stoppedReason = "Task stopped by user";
    stop.requestedBy = {.uid = 0, .pid = 4711, .via = "api"};
    stop.requestedAt = "2026-01-31T12:00:00.000000Z";
    stop.stoppedAt = "2026-01-31T12:00:02.000000Z";
    stop.durationMs = 2000;
    stop.outcome = "graceful";
    stop.deregistrationDelayMs = 300'000;
    stop.savedMs = 298'400;
    stop.containers = {exited("web1", 0)};
    stop.phases = {phase("DEREGISTER", "2026-01-31T12:00:00.000200Z", 0.8, "completed",
                         {{"loadBalancer", haproxy}, {"attempts", 1}}),
                   phase("DRAIN", "2026-01-31T12:00:00.001000Z", 1600, "completed",
                         {{"connectionsAtStart", 12},
                          {"connectionsPeak", 14},
                          {"connectionsAtEnd", 0},
                          {"arrivedAfterDeregistration", 1},
                          {"inFlightAtLoadBalancer", 0}}),
                   phase("SIGTERM", "2026-01-31T12:00:01.601000Z", 399, "completed",
                         {{"signal", "SIGTERM"}, {"stopTimeoutMs", 30000}, {"exitCode", 0}})};
    stop.phases[2].container = "web1";
    return stop;
}

api::Stop draining() {
    api::Stop stop = drained();
    stop.outcome.reset();
    stop.stoppedAt.reset();
    stop.durationMs = 1500;
    stop.phases.pop_back();
    stop.phases[1].outcome.reset();
    stop.phases[1].durationMs = 0;
    stop.phases[1].detail = {{"connectionsAtStart", 12}};
    return stop;
}

api::Progress waiting(std::string what) {
    api::Progress progress;
    progress.stop = draining();
    progress.connections = 3;
    progress.waitingFor = std::move(what);
    progress.next = "SIGTERM";
    progress.nextInMs = 298'500;
    return progress;
}

std::string facts(const char* name, const char* outcome, api::json::object detail) {
    return phase_line(file, drained(), phase(name, "", 0, outcome, std::move(detail)));
}

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

TEST_CASE("draw: a phase tells what matters and keeps quiet about the rest") {
    const api::Stop stop = drained();
    CHECK(phase_line(file, stop, stop.phases[0]) == "  ✓ DEREGISTER      0.8 ms  " + haproxy);
    CHECK(phase_line(file, stop, stop.phases[1]) ==
          "  ✓ DRAIN            1.6 s  12 → 0 connections, 14 at the peak, 1 arrived after "
          "deregistration");
    CHECK(phase_line(file, stop, stop.phases[2]) == "  ✓ SIGTERM         399 ms  exit code 0");
    CHECK(phase_line(ascii, stop, stop.phases[1]) ==
          "  + DRAIN            1.6 s  12 -> 0 connections, 14 at the peak, 1 arrived after "
          "deregistration");
}

TEST_CASE("draw: a phase that didn't complete says how, why and who") {
    CHECK(
        facts("DRAIN", "timed_out",
              {{"limit", "deregistration delay"},
               {"connectionsAtStart", 3},
               {"connectionsAtEnd", 1}}) ==
        "  ! DRAIN             0 ms  timed out: deregistration delay of 5 min, 3 → 1 connections");
    CHECK(
        facts("DRAIN", "interrupted",
              {{"limit", "no drain wanted"}, {"requestedBy", "uid 0, pid 9, via api"}}) ==
        "  » DRAIN             0 ms  interrupted: no drain wanted, asked by uid 0, pid 9, via api");
    CHECK(facts("SIGTERM", "timed_out",
                {{"signal", "SIGQUIT"},
                 {"stopTimeoutMs", 2000},
                 {"limit", "stop timeout"},
                 {"left", 1}}) ==
          "  ! SIGTERM           0 ms  timed out: stop timeout of 2 s, SIGQUIT, 1 process left");
    CHECK(facts("DEREGISTER", "failed",
                {{"loadBalancer", "haproxy:x"}, {"attempts", 4}, {"error", "No such server."}}) ==
          "  ✗ DEREGISTER        0 ms  failed: No such server., haproxy:x, 4 attempts");
    CHECK(facts("SIGKILL", "skipped", {}) == "  – SIGKILL           0 ms  skipped");
}

TEST_CASE("draw: a fact that this program doesn't know is told by its key") {
    CHECK(facts("DRAIN", "completed",
                {{"idleWouldHaveSavedMs", 4500.0},
                 {"newThing", 7},
                 {"isOdd", true},
                 {"isEven", false},
                 {"where", "here"},
                 {"none", nullptr}}) ==
          "  ✓ DRAIN             0 ms  idle would have saved 4.5 s, new thing: 7, is odd, where "
          "here");
}

TEST_CASE("draw: of several containers the phases name theirs, and SIGKILL says whom it ended") {
    api::Stop stop = drained();
    stop.containers = {exited("app", 0), killed("db")};
    stop.outcome = "killed";
    stop.phases = {phase("SIGKILL", "", 2, "completed", {{"survivors", 0}})};
    stop.phases[0].container = "db";
    CHECK(phase_line(file, stop, stop.phases[0]) == "  ✓ SIGKILL db        2 ms  ended by SIGKILL");
    CHECK(ending(file, stop) == "web1 stopped in 2 s, SIGKILL was needed, db: ended by SIGKILL\n");
}

TEST_CASE("draw: the ending says how it went and what the drain saved") {
    api::Stop stop = drained();
    CHECK(ending(file, stop) ==
          "web1 stopped in 2 s, gracefully, exit code 0; 4 min 58 s of the deregistration delay "
          "saved\n");
    stop.phases.erase(stop.phases.begin(), stop.phases.begin() + 2);
    stop.outcome = "exited";
    CHECK(ending(file, stop) == "web1 stopped in 2 s, gone before it was signalled, exit code 0\n");
}

TEST_CASE("draw: an unkillable task is not called stopped, and its survivors are named") {
    api::Stop stop = drained();
    stop.outcome = "unkillable";
    stop.survivors = 2;
    stop.survivorDetails = {{.pid = 7, .command = "dd", .state = "D", .waitChannel = "nfs_wait"},
                            {.pid = 8, .command = "cp", .state = "D", .waitChannel = ""}};
    CHECK(ending(file, stop).starts_with("web1 is not stopped: 2 processes outlived SIGKILL"));
    CHECK(survivors(file, stop) == "    pid 7  dd  state D in nfs_wait\n    pid 8  cp  state D\n");
}

TEST_CASE("draw: a stop that goes on shows what it waits for, what is left, and until when") {
    api::Progress progress = waiting("2 in flight at " + haproxy);
    CHECK(waiting_lines(file, progress) ==
          std::vector<std::string>{"  ● DRAIN            1.5 s  2 in flight at " + haproxy +
                                   ", 3 connections left, SIGTERM within 4 min 59 s"});
    CHECK(waiting_line(file, progress, 6) == "web1    DRAIN       2 in flight at " + haproxy +
                                                 ", 3 connections left, SIGTERM within 4 min 59 s");
    progress.waitingFor = "3 open connections";
    CHECK(waiting_lines(file, progress).front() ==
          "  ● DRAIN            1.5 s  3 open connections, SIGTERM within 4 min 59 s");
}

TEST_CASE("draw: on a narrow terminal the countdown stays, and no line is too long") {
    const api::Progress progress = waiting("2 in flight at " + haproxy);
    for (std::size_t width = 10; width < 120; ++width) {
        CAPTURE(width);
        const Canvas canvas = {.width = width, .utf8 = true};
        const std::string line = waiting_line(canvas, progress, 4);
        CHECK(columns(line) <= std::max<std::size_t>(width, 19));
        if (width >= 44) CHECK(line.ends_with("SIGTERM within 4 min 59 s"));
        if (width >= 55) CHECK(columns(waiting_lines(canvas, progress).front()) <= width);
    }
    CHECK(waiting_lines(narrow, progress).front() ==
          "  ● DRAIN            1.5 s  2 in flight at h…, SIGTERM within 4 min 59 s");
}

TEST_CASE("draw: a timeline has one scale, facts under each bar, and what was saved") {
    CHECK(timeline(narrow, drained()) ==
          "web1 stopped in 2 s, gracefully, exit code 0\n"
          "Task stopped by user (UserInitiated)\n"
          "asked by uid 0, pid 4711, via api, 2026-01-31 12:00:00 UTC\n"
          "\n"
          "  ✓ DEREGISTER  ▏                        +0.2 ms     0.8 ms  completed\n"
          "                haproxy:///run/admin.sock?server=web/web1\n"
          "  ✓ DRAIN       ████████████████▊          +1 ms      1.6 s  completed\n"
          "                12 → 0 connections, 14 at the peak, 1 arrived after\n"
          "                deregistration\n"
          "  ✓ SIGTERM                     █████     +1.6 s     399 ms  completed\n"
          "                exit code 0\n"
          "                0 s               2 s\n"
          "\n"
          "Saved 4 min 58 s of the deregistration delay of 5 min\n");
}

TEST_CASE("draw: a timeline in ASCII, of a stop that goes on") {
    const Canvas canvas = {.width = 72, .colour = false, .utf8 = false};
    CHECK(timeline(canvas, draining()) ==
          "web1 has been stopping for 1.5 s\n"
          "Task stopped by user (UserInitiated)\n"
          "asked by uid 0, pid 4711, via api, 2026-01-31 12:00:00 UTC\n"
          "\n"
          "  + DEREGISTER  =                        +0.2 ms     0.8 ms  completed\n"
          "                haproxy:///run/admin.sock?server=web/web1\n"
          "  * DRAIN       ---------------------      +1 ms      1.5 s  going on\n"
          "                12 connections at the start\n"
          "                0 s             1.5 s\n");
}

TEST_CASE("draw: a timeline survives odd times: no phases, no time at all, a clock set back") {
    api::Stop stop = drained();
    stop.phases.resize(1);
    stop.phases[0].startedAt = "2026-01-31T11:00:00.000000Z";
    stop.phases[0].durationMs = 0;
    stop.durationMs = 0;
    CHECK(timeline(narrow, stop).find("▏") != std::string::npos);
    stop.phases[0].startedAt = "yesterday";
    CHECK(timeline({.width = 1, .utf8 = true}, stop).find("+0 ms") != std::string::npos);
    stop.phases.clear();
    CHECK(timeline(narrow, stop).find("▏") == std::string::npos);
}

TEST_CASE("draw: a drain that used the whole delay saved nothing") {
    api::Stop stop = drained();
    stop.savedMs = 0;
    CHECK(timeline(narrow, stop).ends_with("\nThe whole deregistration delay of 5 min was used\n"));
}

TEST_CASE("draw: history is a row a stop") {
    api::Stop forced = drained();
    forced.task = "db";
    forced.phases.clear();
    forced.outcome = "killed";
    forced.containers = {exited("a", 1), killed("b")};
    CHECK(history(file, {drained(), forced, draining()}) ==
          "TASK  REQUESTED                OUTCOME   DURATION  DRAIN  EXIT       REASON\n"
          "web1  2026-01-31 12:00:00 UTC  graceful       2 s  1.6 s  0          Task stopped by "
          "user\n"
          "db    2026-01-31 12:00:00 UTC  killed         2 s      -  1,SIGKILL  Task stopped by "
          "user\n"
          "web1  2026-01-31 12:00:00 UTC  going on     1.5 s  1.5 s  0          Task stopped by "
          "user\n");
}

TEST_CASE("draw: ps shows how long a task has been up, or how and when it ended") {
    api::Task web;
    web.name = "web1";
    web.lastStatus = web.desiredStatus = "RUNNING";
    web.startedAt = "1970-01-01T00:00:10Z";
    web.containers.resize(1);
    web.containers[0].pid = 4711;
    web.loadBalancers = {haproxy};
    web.ports = {8081, 8082};
    web.connections = 4;
    api::Task old = web;
    old.name = "old";
    old.lastStatus = old.desiredStatus = "STOPPED";
    old.stoppedAt = "1970-01-01T00:01:10Z";
    old.containers[0].pid.reset();
    old.containers[0].signal = "SIGKILL";
    old.loadBalancers.clear();
    CHECK(
        task_table(file, {web, old}, 130'000'000) ==
        "NAME  STATUS   PID   UPTIME                       PORTS      CONNECTIONS  LOAD BALANCERS\n"
        "web1  RUNNING  4711  2 min                        8081,8082            4  " +
            haproxy +
            "\n"
            "old   STOPPED  -     ended by SIGKILL, 1 min ago  8081,8082            -  -\n");
}

TEST_CASE("draw: inspect lists facts, a line each") {
    api::Task task;
    task.name = "web1";
    task.id = "ab";
    task.lastStatus = "DEACTIVATING";
    task.desiredStatus = "STOPPED";
    task.createdAt = "1970-01-01T00:00:10Z";
    task.stopCode = "UserInitiated";
    task.deregistrationDelayMs = 300'000;
    task.loadBalancers = {haproxy};
    task.stopping = waiting("2 in flight");
    task.containers.resize(1);
    task.containers[0].name = "web1";
    task.containers[0].pid = 7;
    task.containers[0].command = {"sleep", "9"};
    task.containers[0].logFile = "/l";
    CHECK(task_facts(file, task, 20'000'000) ==
          "name                  web1\n"
          "id                    ab\n"
          "status                DEACTIVATING, should be STOPPED\n"
          "created               1970-01-01 00:00:10 UTC, 10 s ago\n"
          "stop code             UserInitiated\n"
          "asked by              uid 0, pid 4711, via api\n"
          "waiting for           2 in flight\n"
          "next                  SIGTERM within 4 min 59 s\n"
          "load balancer         " +
              haproxy +
              "\n"
              "deregistration delay  5 min\n"
              "stop timeout          half of what the stop deadline leaves\n"
              "container             web1\n"
              "  command             sleep 9\n"
              "  pid                 7\n"
              "  log                 /l\n");
}
