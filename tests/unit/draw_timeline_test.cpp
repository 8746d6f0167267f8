#include <doctest/doctest.h>

#include "cli/draw/stop.hpp"
#include "cli/draw/task.hpp"
#include "cli/draw/timeline.hpp"
#include "tests/unit/drawn_stops.hpp"

using namespace lastcall::cli;
using namespace lastcall::testing;
namespace api = lastcall::api;

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
    api::Task never = old;
    never.name = "no";
    never.containers[0].signal.reset();
    never.stopCode = "TaskFailedToStart";
    CHECK(task_table(file, {web, old, never}, 130'000'000) ==
          "NAME  STATUS   PID   UPTIME                        PORTS      CONNECTIONS  LOAD "
          "BALANCERS\n"
          "web1  RUNNING  4711  2 min                         8081,8082            4  " +
              haproxy +
              "\n"
              "old   STOPPED  -     ended by SIGKILL, 1 min ago   8081,8082            -  -\n"
              "no    STOPPED  -     TaskFailedToStart, 1 min ago  8081,8082            -  -\n");
}

TEST_CASE("draw: ps names who outlived SIGKILL") {
    api::Task task;
    task.name = "web1";
    task.lastStatus = "STOPPING";
    task.survivors = {{.pid = 7, .command = "dd", .state = "D", .waitChannel = "nfs_wait"}};
    const std::string text = task_table(file, {task}, 130'000'000);
    CHECK(text.ends_with(
        "web1 is not stopped, this outlived SIGKILL: pid 7, dd, state D in nfs_wait\n"));
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
