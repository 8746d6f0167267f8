#include <doctest/doctest.h>

#include "cli/draw/phase.hpp"
#include "cli/draw/stop.hpp"
#include "tests/unit/drawn_stops.hpp"

using namespace lastcall::cli;
using namespace lastcall::testing;
namespace api = lastcall::api;

namespace {

std::string facts(const char* name, const char* outcome, api::json::object detail) {
    return phase_line(file, drained(), phase(name, "", 0, outcome, std::move(detail)));
}

}  // namespace

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
    CHECK(facts("DRAIN", "completed", {{"connectionsAtStart", 0}, {"connectionsAtEnd", 0}}) ==
          "  ✓ DRAIN             0 ms  no connections");
    CHECK(
        facts("DRAIN", "timed_out",
              {{"connectionsAtStart", 1},
               {"connectionsAtEnd", 3},
               {"longestMs", 2700.25},
               {"longestPeer", "10.0.0.7"},
               {"peers", "10.0.0.7 (2), 10.0.0.9"}}) ==
        "  ! DRAIN             0 ms  timed out: 1 → 3 connections, longest 2.7 s (10.0.0.7), from "
        "10.0.0.7 (2), 10.0.0.9");
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
