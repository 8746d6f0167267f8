#include <doctest/doctest.h>

#include <fstream>

#include "cli/session.hpp"
#include "tests/unit/fake_answers.hpp"

using namespace lastcall::cli;
using namespace lastcall::testing;
using Request = FakeAgent::Request;
using Requests = std::vector<Request>;

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

TEST_CASE("agentctl: logs goes on with what was put away") {
    Log log("e\nf\n");
    std::ofstream(log.path + ".1") << "a\nb\nc\nd\n";
    CHECK(log.printed({}) == "a\nb\nc\nd\ne\nf\n");
    CHECK(log.printed({"--tail", "1"}) == "f\n");
    CHECK(log.printed({"--tail", "2"}) == "e\nf\n");
    CHECK(log.printed({"--tail", "3"}) == "d\ne\nf\n");
    CHECK(log.printed({"--tail", "9"}) == "a\nb\nc\nd\ne\nf\n");
    std::ofstream(log.path, std::ios::trunc).close();
    CHECK(log.printed({"--tail", "2"}) == "c\nd\n");
    std::filesystem::remove(log.path + ".1");
}

TEST_CASE("agentctl: ps tells of a journal in trouble") {
    FakeAgent agent([](const Request&) {
        return ok(
            {{"tasks", json::array()},
             {"journal",
              {{"status", "degraded"}, {"trouble", "disk is\x1b[31m full"}, {"waiting", 1}}}});
    });
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"ps"}).exit == done);
    CHECK(agentctl.out.text().find("The journal is degraded: disk is") != std::string::npos);
    CHECK(agentctl.out.text().ends_with(" full; 1 record not on the disk\n"));
    CHECK(agentctl.out.text().find('\x1b') == std::string::npos);
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
