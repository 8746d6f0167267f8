#include "cli/agentctl.hpp"

#include <doctest/doctest.h>
#include <signal.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <fstream>

#include "agent/api/types.hpp"
#include "cli/arguments.hpp"
#include "cli/session.hpp"
#include "tests/unit/fake_agent.hpp"

using namespace lastcall::cli;
using lastcall::testing::Agentctl;
using lastcall::testing::FakeAgent;
using lastcall::testing::http;
using lastcall::testing::Latch;
using lastcall::testing::problem;
using Request = FakeAgent::Request;
using Requests = std::vector<Request>;
namespace json = boost::json;

namespace {

const char* const long_ago = "2001-01-01T00:00:00.000000Z";
const char* const not_yet = "2999-01-01T00:00:00.000000Z";

json::object phase(const char* name, const char* outcome, double milliseconds) {
    json::object it = {{"phase", name}, {"startedAt", not_yet}, {"durationMs", milliseconds}};
    if (outcome) it["outcome"] = outcome;
    it["detail"] = json::object();
    return it;
}

/// A record that was requested just after we asked, so that it is our own.
json::object record(const char* task, const char* outcome, json::array phases) {
    json::object it = {{"id", "1"},
                       {"task", task},
                       {"stopCode", "UserInitiated"},
                       {"stoppedReason", "Task stopped by user"},
                       {"requestedBy", {{"uid", 0}, {"pid", 9}, {"via", "api"}}},
                       {"requestedAt", not_yet},
                       {"durationMs", 1500},
                       {"survivors", 0},
                       {"deregistrationDelayMs", 0},
                       {"savedMs", 0},
                       {"containers", json::array()},
                       {"phases", std::move(phases)}};
    if (outcome) it["outcome"] = outcome;
    return it;
}

json::object task(const char* name, const char* status, json::value stopping = nullptr) {
    json::object it = {
        {"name", name},
        {"id", "1"},
        {"lastStatus", status},
        {"desiredStatus", status},
        {"createdAt", long_ago},
        {"containers", json::array{{{"name", name}, {"pid", 4711}, {"command", {"x"}}}}},
        {"loadBalancers", json::array()},
        {"ports", json::array()},
        {"deregistrationDelayMs", 0}};
    if (!stopping.is_null()) it["stopping"] = std::move(stopping);
    return it;
}

std::string ok(const json::value& value) { return http(200, lastcall::api::to_text(value)); }

/// As text: a 2 that was written as 2.0 is still a 2.
bool same(const std::string& printed, const json::value& value) {
    return lastcall::api::to_text(json::parse(printed)) == lastcall::api::to_text(value);
}

json::object killed_at_once(const char* name) {
    return record(name, "killed", {phase("SIGKILL", "completed", 2)});
}

json::object quick(const char* name) {
    return record(name, "graceful", {phase("SIGTERM", "completed", 2)});
}

const char* const quick_told =
    "  ✓ SIGTERM           2 ms\n"
    "web stopped in 1.5 s, gracefully\n";

}  // namespace

TEST_CASE("agentctl: what can't be understood is a usage error with a suggestion") {
    const auto told = [](std::vector<std::string> words) {
        Agentctl agentctl;
        agentctl("/nowhere", std::move(words));
        CHECK(agentctl.exit == wrong_usage);
        CHECK(agentctl.out.text() == "");
        return agentctl.err.text();
    };
    CHECK(told({}) == "agentctl: a command is missing; see 'agentctl --help'\n");
    CHECK(told({"--socket", "/x"}) == "agentctl: a command is missing; see 'agentctl --help'\n");
    CHECK(told({"stpo", "web"}) ==
          "agentctl: unknown command 'stpo' (did you mean 'stop'?); see 'agentctl --help'\n");
    CHECK(told({"events"}) == "agentctl: unknown command 'events'; see 'agentctl --help'\n");
    CHECK(told({"stop", "--no-drian", "web"}) ==
          "agentctl: unknown option '--no-drian' (did you mean '--no-drain'?); see 'agentctl stop "
          "--help'\n");
    CHECK(told({"stop"}) == "agentctl: TASK is missing: name a task, or say --all\n");
    CHECK(told({"stop", "--all", "web"}) ==
          "agentctl: --all and names of tasks exclude each other\n");
    CHECK(told({"stop", ""}) == "agentctl: a task's name can't be empty\n");
    CHECK(told({"inspect"}) == "agentctl: TASK is missing; see 'agentctl inspect --help'\n");
    CHECK(told({"inspect", "a", "b"}) ==
          "agentctl: unexpected 'b'; see 'agentctl inspect --help'\n");
    CHECK(told({"signal", "web"}) == "agentctl: SIGNAL is missing; see 'agentctl signal --help'\n");
    CHECK(told({"ps", "--output", "xml"}) ==
          "agentctl: --output must be table or json, not 'xml'\n");
    CHECK(told({"run"}) ==
          "agentctl: COMMAND… is missing: it goes behind '--'; see 'agentctl run --help'\n");
    CHECK(told({"run", "--"}).find("is missing") != std::string::npos);
    CHECK(told({"run", "sleep", "9"}) ==
          "agentctl: unexpected 'sleep' (the command to run goes behind '--'); see 'agentctl run "
          "--help'\n");
    CHECK(told({"run", "--port", "70000", "--", "x"}) ==
          "agentctl: --port must be a number from 1 to 65535, not '70000'\n");
    CHECK(told({"run", "--port", "8o", "--", "x"}).find("not '8o'") != std::string::npos);
    CHECK(told({"run", "--env", "=x", "--", "x"}) ==
          "agentctl: --env must be NAME=VALUE, not '=x'\n");
    CHECK(told({"logs", "web", "--tail", "-1"}).find("--tail") != std::string::npos);
    CHECK(told({"history", "--limit", "0"}) ==
          "agentctl: --limit must be a whole number above 0, not '0'\n");
    CHECK(told({"stop", "web", "--timeout"}).find("--timeout") != std::string::npos);
}

TEST_CASE("agentctl: every command explains itself, and needs no agent for it") {
    for (const char* name : {"run", "stop", "restart", "ps", "inspect", "timeline", "history",
                             "logs", "signal", "config", "version"}) {
        CAPTURE(name);
        Agentctl agentctl, the_same;
        agentctl("/nowhere", {name, "--help"});
        CHECK(agentctl.exit == done);
        CHECK(agentctl.out.text().starts_with("agentctl " + std::string(name) + ": "));
        CHECK(agentctl.out.text().find("Examples:\n  agentctl " + std::string(name)) !=
              std::string::npos);
        CHECK(the_same("/nowhere", {"help", name}).out.text() == agentctl.out.text());
    }
    Agentctl agentctl, the_same;
    CHECK(agentctl("/nowhere", {"--help"}).exit == done);
    CHECK(the_same("/nowhere", {"--socket", "/x", "help"}).out.text() == agentctl.out.text());
    CHECK(agentctl.out.text().find("Usage: agentctl COMMAND") != std::string::npos);
}

TEST_CASE("agentctl: no agent is exit 4, no such task exit 3, another refusal exit 1") {
    Agentctl nobody, unknown, conflict;
    CHECK(nobody("/nowhere", {"ps"}).exit == no_agent);
    CHECK(nobody("/nowhere", {"stop", "a", "b"}).exit == no_agent);
    CHECK(nobody.err.text().find("cannot reach an agent at '/nowhere'") != std::string::npos);

    FakeAgent agent([](const Request& request) {
        return request.line.starts_with("GET") ? problem(404, "no task is called 'x'")
                                               : problem(409, "'x' is taken");
    });
    CHECK(unknown(agent.socket(), {"inspect", "x"}).exit == no_such_task);
    CHECK(unknown.err.text() == "agentctl: no task is called 'x'\n");
    CHECK(conflict(agent.socket(), {"run", "--name", "x", "--", "true"}).exit == failed);
    CHECK(conflict.err.text() == "agentctl: 'x' is taken\n");
}

TEST_CASE("agentctl: run sends what was said, no more, and the command as it stands") {
    FakeAgent agent([](const Request&) { return ok(task("web", "RUNNING")); });
    Agentctl agentctl;
    agentctl(agent.socket(), {"run",
                              "--name",
                              "web",
                              "--port",
                              "8081",
                              "--port",
                              "8082",
                              "--load-balancer",
                              "haproxy:a",
                              "--env",
                              "A=b=c",
                              "--env",
                              "D=[x,y]",
                              "--chdir",
                              "/srv",
                              "--stop-timeout",
                              "2",
                              "--deregistration-delay",
                              "1m",
                              "--drain",
                              "idle",
                              "--pre-stop",
                              "sleep 1; true",
                              "--",
                              "/usr/bin/env",
                              "--help",
                              "--",
                              "-x",
                              ""});
    CHECK(agentctl.exit == done);
    CHECK(agentctl.out.text() == "web  pid 4711\n");
    REQUIRE(agent.requests().size() == 1);
    CHECK(agent.requests()[0].line == "POST /v1/tasks");
    CHECK(json::parse(agent.requests()[0].body) ==
          json::value{{"name", "web"},
                      {"command", {"/usr/bin/env", "--help", "--", "-x", ""}},
                      {"environment", {"A=b=c", "D=[x,y]"}},
                      {"workingDirectory", "/srv"},
                      {"ports", {8081, 8082}},
                      {"loadBalancers", json::array{"haproxy:a"}},
                      {"stopTimeout", "2"},
                      {"deregistrationDelay", "1m"},
                      {"drain", "idle"},
                      {"preStop", "sleep 1; true"}});
}

TEST_CASE("agentctl: run takes the command's name and the caller's directory if nothing is said") {
    FakeAgent agent([](const Request&) { return ok(task("sleep", "RUNNING")); });
    Agentctl agentctl;
    agentctl(agent.socket(), {"run", "--load-balancer", "", "--", "/bin/sleep", "9"});
    CHECK(json::parse(agent.requests().at(0).body) ==
          json::value{{"name", "sleep"},
                      {"command", {"/bin/sleep", "9"}},
                      {"workingDirectory", std::filesystem::current_path().string()},
                      {"loadBalancers", json::array()}});
}

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

TEST_CASE("agentctl: options may stand before the command's name") {
    FakeAgent agent([](const Request&) { return ok({{"tasks", json::array()}}); });
    Agentctl agentctl;
    CHECK(agentctl("/nowhere", {"--socket", agent.socket(), "--output=json", "ps"}).exit == done);
    CHECK(agentctl.out.text() == "{\n  \"tasks\": []\n}\n");
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
    FakeAgent agent([](const Request&) {
        return http(202, lastcall::api::to_text(record("web", nullptr, {})));
    });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"stop", "web", "--detach"}).exit == done);
    CHECK(agent.requests() == Requests{{"POST /v1/tasks/web/stop?wait=false", "{}"}});
    CHECK(agentctl.out.text() == "web is being stopped\n");
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

TEST_CASE("agentctl: an agent that is lost in mid-stop is a failure") {
    FakeAgent agent([](const Request&) { return std::string(); });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"stop", "web"}).exit == failed);
    CHECK(agentctl.err.text().find("lost the agent at") != std::string::npos);
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

TEST_CASE(
    "agentctl: timeline draws the stop that goes on, else the last, also of a forgotten task") {
    const json::value going = {{"stop", record("web", nullptr, {phase("DRAIN", nullptr, 5)})},
                               {"waitingFor", ""}};
    FakeAgent stopping([&](const Request&) { return ok(task("web", "DEACTIVATING", going)); });
    FakeAgent forgotten([](const Request& request) {
        return request.line == "GET /v1/tasks/web" ? problem(404, "no task")
                                                   : ok({{"stops", json::array{quick("web")}}});
    });
    FakeAgent never([](const Request& request) {
        return request.line == "GET /v1/tasks/web" ? ok(task("web", "RUNNING"))
                                                   : ok({{"stops", json::array()}});
    });
    FakeAgent unknown([](const Request&) { return problem(404, "no task"); });
    Agentctl first, second, third, fourth;
    CHECK(first(stopping.socket(), {"timeline", "web"})
              .out.text()
              .starts_with("web has been stopping"));
    CHECK(second(forgotten.socket(), {"timeline", "web"})
              .out.text()
              .starts_with("web stopped in 1.5 s"));
    CHECK(third(never.socket(), {"timeline", "web"}).exit == failed);
    CHECK(third.err.text() == "agentctl: cannot draw a timeline: 'web' was never stopped\n");
    CHECK(fourth(unknown.socket(), {"timeline", "web"}).exit == no_such_task);
}

TEST_CASE("agentctl: history asks for all tasks or one, and no more than wanted") {
    FakeAgent agent([](const Request&) { return ok({{"stops", json::array{quick("web")}}}); });
    Agentctl all, one, machine;
    CHECK(all(agent.socket(), {"history"}).out.text().find("graceful") != std::string::npos);
    one(agent.socket(), {"history", "web", "--limit", "3"});
    machine(agent.socket(), {"history", "--output", "json"});
    CHECK(agent.requests() == Requests{{"GET /v1/stops?limit=20", ""},
                                       {"GET /v1/tasks/web/stops?limit=3", ""},
                                       {"GET /v1/stops?limit=20", ""}});
    CHECK(same(machine.out.text(), json::value{{"stops", json::array{quick("web")}}}));
}

TEST_CASE("agentctl: signal is passed on as it was said") {
    FakeAgent agent([](const Request&) { return http(204, ""); });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"signal", "web", "usr1"}).exit == done);
    CHECK(agent.requests() == Requests{{"POST /v1/tasks/web/signal", R"({"signal":"usr1"})"}});
    CHECK(agentctl.out.text() == "");
}

TEST_CASE("agentctl: config shows name, value and source") {
    FakeAgent agent([](const Request&) {
        return ok({{"settings", json::array{{{"name", "AGENT_DRAIN"},
                                             {"flag", "--drain"},
                                             {"value", "idle"},
                                             {"source", "environment"}}}}});
    });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"config"}).out.text() ==
          "NAME         VALUE  SOURCE\n"
          "AGENT_DRAIN  idle   environment\n");
}

TEST_CASE("agentctl: version is known without an agent") {
    FakeAgent agent([](const Request&) {
        return ok({{"Cluster", "default"}, {"Version", "9.9"}, {"pid", 7}, {"mode", "serve"}});
    });
    Agentctl alone, with;
    CHECK(alone("/nowhere", {"--version"}).exit == done);
    CHECK(alone.out.text() == "agentctl " LASTCALL_VERSION "\nagent    none at /nowhere\n");
    CHECK(with(agent.socket(), {"version"}).out.text() ==
          "agentctl " LASTCALL_VERSION "\nagent    9.9 (serve, pid 7, cluster default) at " +
              agent.socket() + "\n");
}

namespace {

struct Log {
    explicit Log(const std::string& text)
        : path(std::filesystem::temp_directory_path() /
               ("lastcall-log-" + std::to_string(::getpid()))),
          agent([this](const Request&) {
              json::object it = task("web", "RUNNING");
              it["containers"].as_array()[0].as_object()["logFile"] = path;
              return ok(it);
          }) {
        std::ofstream(path) << text;
    }
    ~Log() { std::filesystem::remove(path); }
    std::string printed(std::vector<std::string> words) {
        Agentctl agentctl;
        words.insert(words.begin(), {"logs", "web"});
        agentctl(agent.socket(), std::move(words));
        return agentctl.exit == done ? agentctl.out.text() : agentctl.err.text();
    }

    std::string path;
    FakeAgent agent;
};

}  // namespace

TEST_CASE("agentctl: logs prints the file, or its last lines, however large it is") {
    std::string large;
    for (int i = 0; i < 40'000; ++i) large += "line " + std::to_string(i) + "\n";
    CHECK(Log(large).printed({}) == large);
    CHECK(Log(large).printed({"--tail", "2"}) == "line 39998\nline 39999\n");
    CHECK(Log(large).printed({"--tail", "30000"}) == large.substr(large.find("line 10000\n")));
    CHECK(Log(large).printed({"--tail", "999999"}) == large);
    CHECK(Log("a\nb\nno end").printed({"--tail", "2"}) == "b\nno end");
    CHECK(Log("a\n\n\n").printed({"--tail", "2"}) == "\n\n");
    CHECK(Log("a\n").printed({"--tail", "0"}) == "");
    CHECK(Log("").printed({"--tail", "5"}) == "");
}

TEST_CASE("agentctl: logs as JSON is an object a line, valid whatever was logged") {
    CHECK(Log("a \"b\"\n\xff\nend").printed({"--output", "json"}) ==
          "{\"container\":\"web\",\"line\":\"a \\\"b\\\"\"}\n"
          "{\"container\":\"web\",\"line\":\"\uFFFD\"}\n"
          "{\"container\":\"web\",\"line\":\"end\"}\n");
}

TEST_CASE("agentctl: logs that can't be had say why") {
    Log log("a");
    std::filesystem::remove(log.path);
    CHECK(log.printed({}) ==
          "agentctl: cannot open the log '" + log.path + "': No such file or directory\n");
    FakeAgent agent([](const Request&) { return ok(task("web", "RUNNING")); });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"logs", "web"}).exit == failed);
    CHECK(agentctl.err.text() ==
          "agentctl: cannot print the log of 'web': it has none, its output "
          "went where the agent's goes\n");
}

TEST_CASE("arguments: a word that is near is suggested, one that is far isn't") {
    CHECK(suggestion("stpo", {"stop", "ps"}) == " (did you mean 'stop'?)");
    CHECK(suggestion("pss", {"stop", "ps"}) == " (did you mean 'ps'?)");
    CHECK(suggestion("inspekt", {"inspect"}) == " (did you mean 'inspect'?)");
    CHECK(suggestion("xyz", {"stop", "ps"}) == "");
    CHECK(suggestion("", {"ps"}) == "");
}
