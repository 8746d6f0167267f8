#include <doctest/doctest.h>
#include <signal.h>

#include "cli/session.hpp"
#include "tests/unit/fake_answers.hpp"

using namespace lastcall::cli;
using namespace lastcall::testing;
namespace api = lastcall::api;
using Request = FakeAgent::Request;
using Requests = std::vector<Request>;

namespace {

const char* const quick_told =
    "  ✓ SIGTERM           2 ms\n"
    "web stopped in 1.5 s, gracefully\n";

}  // namespace

TEST_CASE("agentctl: stop sends its flags, and a quick stop is one request on one connection") {
    FakeAgent agent([](const Request&) { return ok(quick("web")); });
    Agentctl agentctl;
    agentctl(agent.socket(),
             {"stop", "web", "--no-drain", "--force", "--timeout", "5s", "--drain-timeout", "1m",
              "--signal", "QUIT", "--reason", "a new version", "web"});
    CHECK(agentctl.exit == done);
    CHECK(agentctl.out.text() == quick_told);
    CHECK(agent.connections() == 1);
    CHECK(agent.requests() ==
          Requests{
              {"POST /v1/tasks/web/stop",
               R"({"drain":false,"force":true,"timeout":"5s","drainTimeout":"1m","signal":"QUIT",)"
               R"("reason":"a new version"})"}});
}

TEST_CASE("agentctl: elsewhere than on a terminal a phase is a line, as soon as it has ended") {
    Agentctl agentctl;
    FakeAgent agent([&](const Request& request) {
        if (request.line == "GET /v1/tasks/web") {
            const json::value stop =
                record("web", nullptr,
                       {phase("DEREGISTER", "completed", 1), phase("DRAIN", nullptr, 100)});
            return ok(task("web", "DEACTIVATING", {{"stop", stop}, {"waitingFor", "x"}}));
        }
        // The stop ends only when its first phase was told.
        CHECK(agentctl.out.shows("DEREGISTER"));
        return ok(record("web", "graceful",
                         {phase("DEREGISTER", "completed", 1), phase("DRAIN", "timed_out", 1400),
                          phase("SIGTERM", "completed", 2)}));
    });
    agentctl(agent.socket(), {"stop", "web"});
    CHECK(agentctl.exit == done);
    CHECK(agentctl.out.text() ==
          "  ✓ DEREGISTER        1 ms\n"
          "  ! DRAIN            1.4 s  timed out\n"
          "  ✓ SIGTERM           2 ms\n"
          "web stopped in 1.5 s, gracefully\n");
    CHECK(agent.connections() == 2);
}

TEST_CASE("agentctl: on a terminal the wait is redrawn in place, and nothing of it is left") {
    Agentctl agentctl;
    FakeAgent agent([&](const Request& request) {
        const json::value stop = record(
            "web", nullptr, {phase("DEREGISTER", "completed", 1), phase("DRAIN", nullptr, 100)});
        if (request.line.starts_with("GET")) {
            return ok(task("web", "DEACTIVATING",
                           {{"stop", stop},
                            {"waitingFor", ""},
                            {"connections", 3},
                            {"next", "SIGTERM"},
                            {"nextInMs", 4000}}));
        }
        CHECK(agentctl.out.shows("3 connections left, SIGTERM within 4 s"));
        return ok(record("web", "graceful",
                         {phase("DEREGISTER", "completed", 1), phase("DRAIN", "completed", 1400)}));
    });
    agentctl(agent.socket(), {"stop", "web"}, true);
    const std::string text = agentctl.out.text();
    CHECK(text.starts_with(
        "  ✓ DEREGISTER        1 ms\x1b[K\n"
        "  ● DRAIN            1.5 s  3 connections left, SIGTERM within 4 s\x1b[K\n"
        "\x1b[J"));
    CHECK(
        text.ends_with("\x1b[1A\r  ✓ DRAIN            1.4 s\x1b[K\n"
                       "web stopped in 1.5 s, gracefully\x1b[K\n"
                       "\x1b[J"));
}

TEST_CASE(
    "agentctl: several tasks are stopped side by side, and one that fails holds up no other") {
    Latch both;
    std::atomic<int> inside = 0;
    FakeAgent agent([&](const Request& request) {
        if (request.line == "POST /v1/tasks/nope/stop")
            return problem(404, "no task is called 'nope'");
        if (++inside == 2) both.set();
        CHECK(both.wait());
        return ok(quick(request.line == "POST /v1/tasks/a/stop" ? "a" : "web"));
    });
    Agentctl agentctl;
    agentctl(agent.socket(), {"stop", "a", "nope", "web"});
    CHECK(agentctl.exit == no_such_task);
    CHECK(agentctl.err.text() == "agentctl: no task is called 'nope'\n");
    CHECK(agentctl.out.text().find("a     ✓ SIGTERM") != std::string::npos);
    CHECK(agentctl.out.text().find("web   ✓ SIGTERM") != std::string::npos);
    CHECK(agentctl.out.text().find("a stopped in 1.5 s, gracefully\n") != std::string::npos);
}

TEST_CASE("agentctl: stop --all stops what is not stopped") {
    FakeAgent agent([](const Request& request) {
        if (request.line.starts_with("POST")) return ok(quick("web"));
        return ok({{"tasks", {task("web", "RUNNING"), task("old", "STOPPED")}}});
    });
    Agentctl agentctl;
    agentctl(agent.socket(), {"stop", "--all"});
    CHECK(agent.requests() == Requests{{"GET /v1/tasks", ""}, {"POST /v1/tasks/web/stop", "{}"}});
    CHECK(agentctl.out.text().ends_with("web stopped in 1.5 s, gracefully\n"));

    FakeAgent idle([](const Request&) { return ok({{"tasks", json::array()}}); });
    Agentctl nothing;
    CHECK(nothing(idle.socket(), {"stop", "--all"}).exit == done);
    CHECK(nothing.out.text() == "No task is running\n");
}

TEST_CASE("agentctl: stop --output json prints the record, of several a list, and nothing else") {
    FakeAgent agent([](const Request& request) {
        return ok(quick(request.line == "POST /v1/tasks/a/stop" ? "a" : "web"));
    });
    Agentctl one, two;
    one(agent.socket(), {"stop", "web", "--output", "json"});
    CHECK(same(one.out.text(), json::value(quick("web"))));
    two(agent.socket(), {"stop", "web", "a", "--output", "json"});
    CHECK(same(two.out.text(), json::value{quick("web"), quick("a")}));
}

TEST_CASE("agentctl: stop --detach asks and doesn't wait") {
    const json::object progress = {{"stop", record("web", nullptr, {})}, {"waitingFor", ""}};
    FakeAgent agent([&](const Request&) { return http(202, api::to_text(progress)); });
    Agentctl agentctl, machine;
    CHECK(agentctl(agent.socket(), {"stop", "web", "--detach"}).exit == done);
    CHECK(agent.requests() == Requests{{"POST /v1/tasks/web/stop?wait=false", "{}"}});
    CHECK(agentctl.out.text() == "web is being stopped\n");
    machine(agent.socket(), {"stop", "web", "--detach", "--output", "json"});
    CHECK(same(machine.out.text(), progress));

    json::object over = quick("web");
    over["requestedAt"] = over["stoppedAt"] = long_ago;
    FakeAgent stopped([&](const Request&) { return ok(over); });
    Agentctl late;
    CHECK(late(stopped.socket(), {"stop", "web", "--detach"}).exit == done);
    CHECK(late.out.text().starts_with("web was stopped already, "));
}

TEST_CASE("agentctl: a stop that itself failed is told with what it did, and why") {
    const json::object stop = record("web", nullptr, {phase("DEREGISTER", "completed", 1)});
    FakeAgent agent([&](const Request&) {
        return http(500,
                    api::to_text(json::object{{"detail", "cannot stop 'web': x"}, {"stop", stop}}));
    });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"stop", "web"}).exit == failed);
    CHECK(agentctl.out.text() == "  ✓ DEREGISTER        1 ms\n");
    CHECK(agentctl.err.text() == "agentctl: cannot stop 'web': x\n");
}

TEST_CASE("agentctl: SIGKILL is a success, but for those who say otherwise") {
    FakeAgent agent([](const Request&) { return ok(killed_at_once("web")); });
    Agentctl agentctl, strict;
    CHECK(agentctl(agent.socket(), {"stop", "web"}).exit == done);
    CHECK(agentctl.out.text().find("SIGKILL was needed") != std::string::npos);
    CHECK(strict(agent.socket(), {"stop", "web", "--fail-on-kill"}).exit == failed);
}

TEST_CASE("agentctl: an unkillable task is a failure that names its survivors") {
    json::object stop = record("web", "unkillable", {phase("SIGKILL", "failed", 10'000)});
    stop["survivors"] = 1;
    stop["survivorDetails"] =
        json::array{{{"pid", 77}, {"command", "dd"}, {"state", "D"}, {"waitChannel", "nfs_wait"}}};
    FakeAgent agent([&](const Request&) {
        return http(500, lastcall::api::to_text(
                             json::object{{"title", "x"}, {"detail", "y"}, {"stop", stop}}));
    });
    Agentctl agentctl, machine;
    CHECK(agentctl(agent.socket(), {"stop", "web"}).exit == failed);
    CHECK(agentctl.out.text() ==
          "  ✗ SIGKILL           10 s  failed\n"
          "web is not stopped: 1 process outlived SIGKILL\n"
          "    pid 77  dd  state D in nfs_wait\n");
    CHECK(machine(agent.socket(), {"stop", "web", "--output", "json"}).exit == failed);
    CHECK(same(machine.out.text(), json::value(stop)));
}

TEST_CASE("agentctl: a stop that was somebody else's, or is over already, is told as such") {
    json::object theirs = quick("web"), over = quick("web");
    theirs["requestedAt"] = over["requestedAt"] = long_ago;
    over["stoppedAt"] = long_ago;
    Agentctl joining, late;
    FakeAgent joined([&](const Request&) { return ok(theirs); });
    joining(joined.socket(), {"stop", "web"});
    CHECK(joining.out.text().starts_with(
        "web is being stopped already, asked by uid 0, pid 9, via api, "));
    CHECK(joining.out.text().ends_with(std::string("\n") + quick_told));
    FakeAgent done_before([&](const Request&) { return ok(over); });
    late(done_before.socket(), {"stop", "web"});
    CHECK(late.exit == done);
    CHECK(late.out.text().starts_with("web was stopped already, "));
    CHECK(late.out.text().find("SIGTERM") == std::string::npos);
}

TEST_CASE("agentctl: Ctrl-C leaves the program only, and says so") {
    Latch over;
    FakeAgent agent([&](const Request&) {
        ::kill(::getpid(), SIGINT);
        over.wait();
        return ok(quick("web"));
    });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"stop", "web"}).exit == left);
    CHECK(agentctl.err.text() ==
          "agentctl: left; the stop of web goes on (agentctl timeline web shows it)\n");
    over.set();
}

TEST_CASE("agentctl: restart tells the stop, then the new process") {
    FakeAgent agent([](const Request& request) {
        if (request.line.starts_with("POST")) return ok(task("web", "RUNNING"));
        return ok({{"stops", json::array{quick("web")}}});
    });
    Agentctl agentctl, machine;
    CHECK(agentctl(agent.socket(), {"restart", "web", "--timeout", "3s"}).exit == done);
    CHECK(agent.requests() == Requests{{"POST /v1/tasks/web/restart", R"({"timeout":"3s"})"},
                                       {"GET /v1/tasks/web/stops?limit=1", ""}});
    CHECK(agentctl.out.text() == std::string(quick_told) + "web started again, pid 4711\n");
    machine(agent.socket(), {"restart", "web", "--output", "json"});
    CHECK(same(machine.out.text(), json::value(task("web", "RUNNING"))));
}
