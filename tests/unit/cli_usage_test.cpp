#include <doctest/doctest.h>

#include "cli/arguments.hpp"
#include "cli/session.hpp"
#include "tests/unit/fake_answers.hpp"

using namespace lastcall::cli;
using namespace lastcall::testing;
using Request = FakeAgent::Request;
using Requests = std::vector<Request>;

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
    Agentctl nobody, nobody_either, unknown, conflict;
    CHECK(nobody("/nowhere", {"ps"}).exit == no_agent);
    CHECK(nobody_either("/nowhere", {"stop", "a", "b"}).exit == no_agent);
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

TEST_CASE("agentctl: options may stand before the command's name") {
    FakeAgent agent([](const Request&) { return ok({{"tasks", json::array()}}); });
    Agentctl agentctl;
    CHECK(agentctl("/nowhere", {"--socket", agent.socket(), "--output=json", "ps"}).exit == done);
    CHECK(agentctl.out.text() == "{\n  \"tasks\": []\n}\n");
}

TEST_CASE("arguments: a word that is near is suggested, one that is far isn't") {
    CHECK(suggestion("stpo", {"stop", "ps"}) == " (did you mean 'stop'?)");
    CHECK(suggestion("pss", {"stop", "ps"}) == " (did you mean 'ps'?)");
    CHECK(suggestion("inspekt", {"inspect"}) == " (did you mean 'inspect'?)");
    CHECK(suggestion("xyz", {"stop", "ps"}) == "");
    CHECK(suggestion("", {"ps"}) == "");
}
