#include <doctest/doctest.h>

#include <atomic>

#include "cli/session.hpp"
#include "tests/unit/fake_answers.hpp"

// An agent that goes away while somebody waits for a stop, and what agentctl makes of the one that
// comes back.

using namespace lastcall::cli;
using namespace lastcall::testing;
using Request = FakeAgent::Request;

namespace {

const std::string no_answer;

/// How often something was asked for.
long count(const FakeAgent& agent, const std::string& line) {
    long times = 0;
    for (const Request& each : agent.requests()) times += each.line == line ? 1 : 0;
    return times;
}

/// Closes the connection of the first `POST`, then answers as `answer` does.
FakeAgent::Answer lost_once(FakeAgent::Answer answer) {
    auto lost = std::make_shared<std::atomic<bool>>(false);
    return [lost, answer = std::move(answer)](const Request& request) {
        const bool first = request.line.starts_with("POST") && !lost->exchange(true);
        return first ? no_answer : answer(request);
    };
}

json::object newer(const char* status) {
    json::object it = task("web", status);
    it["id"] = "2";
    it["createdAt"] = not_yet;
    return it;
}

json::object ended() {
    json::object it = quick("web");
    it["stoppedAt"] = not_yet;
    return it;
}

std::string stops(json::object stop) { return ok({{"stops", json::array{std::move(stop)}}}); }

}  // namespace

TEST_CASE("agentctl: a stop whose agent comes back is joined again, and ends as if nothing was") {
    FakeAgent agent(lost_once([](const Request& request) {
        return ok(request.line == "GET /v1/tasks/web" ? task("web", "STOPPING") : quick("web"));
    }));
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"stop", "web", "--timeout", "5s"}).exit == done);
    CHECK(agentctl.out.text() ==
          "  ✓ SIGTERM           2 ms\n"
          "web stopped in 1.5 s, gracefully\n");
    CHECK(agentctl.err.text().empty());
    CHECK(count(agent, "POST /v1/tasks/web/stop") == 2);
    CHECK(agent.requests().front().body == agent.requests().back().body);
}

TEST_CASE(
    "agentctl: a task that was made while its agent was away is neither stopped nor restarted") {
    FakeAgent agent(lost_once([](const Request& request) {
        return request.line == "GET /v1/tasks/web" ? ok(newer("RUNNING")) : stops(ended());
    }));
    Agentctl stopping;
    CHECK(stopping(agent.socket(), {"stop", "web"}).exit == done);
    CHECK(stopping.out.text().ends_with("web stopped in 1.5 s, gracefully\n"));
    CHECK(count(agent, "POST /v1/tasks/web/stop") == 1);

    json::object before_us = quick("web");
    before_us["stoppedAt"] = long_ago;
    FakeAgent unrecorded(lost_once([&](const Request& request) {
        return request.line == "GET /v1/tasks/web" ? ok(newer("RUNNING")) : stops(before_us);
    }));
    Agentctl unsure;
    CHECK(unsure(unrecorded.socket(), {"stop", "web"}).exit == failed);
    CHECK(unsure.err.text() ==
          "agentctl: cannot find 'web' again: the agent was away, and a newer task has that name, "
          "which is left alone\n");
    CHECK(count(unrecorded, "POST /v1/tasks/web/stop") == 1);
}

TEST_CASE("agentctl: a task that a look has shown is known by its id, whatever the clock says") {
    Agentctl agentctl;
    std::atomic<bool> seen = false, lost = false;
    FakeAgent agent([&](const Request& request) {
        if (request.line == "GET /v1/tasks/web") {
            json::object other = task("web", "RUNNING");
            other["id"] = "2";
            if (lost) return ok(other);
            const json::value stop = record("web", nullptr, {phase("DRAIN", "completed", 1)});
            seen = true;
            return ok(task("web", "STOPPING", {{"stop", stop}, {"waitingFor", "x"}}));
        }
        if (request.line.starts_with("GET")) return stops(ended());
        CHECK(agentctl.out.shows("DRAIN"));
        lost = true;
        return no_answer;
    });
    CHECK(agentctl(agent.socket(), {"stop", "web"}).exit == done);
    CHECK(seen);
    CHECK(count(agent, "POST /v1/tasks/web/stop") == 1);
}

TEST_CASE("agentctl: a restart whose agent comes back is done if the new task is there") {
    FakeAgent agent(lost_once([](const Request& request) {
        return request.line == "GET /v1/tasks/web" ? ok(newer("RUNNING")) : stops(ended());
    }));
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"restart", "web"}).exit == done);
    CHECK(agentctl.out.text().ends_with(
        "web stopped in 1.5 s, gracefully\nweb started again, pid 4711\n"));
    CHECK(count(agent, "POST /v1/tasks/web/restart") == 1);
}

TEST_CASE("agentctl: a restart whose agent went away between its halves is asked for again") {
    FakeAgent agent(lost_once([](const Request& request) {
        if (request.line == "GET /v1/tasks/web") return ok(task("web", "STOPPED"));
        if (request.line.starts_with("GET")) return stops(ended());
        return ok(newer("RUNNING"));
    }));
    Agentctl agentctl;
    CHECK(agentctl(agent.socket(), {"restart", "web"}).exit == done);
    CHECK(agentctl.out.text().ends_with("web started again, pid 4711\n"));
    CHECK(count(agent, "POST /v1/tasks/web/restart") == 2);
}

TEST_CASE("agentctl: a task that the new agent doesn't know is looked for among the records") {
    FakeAgent agent(lost_once([](const Request& request) {
        return request.line == "GET /v1/tasks/web" ? problem(404, "no") : stops(ended());
    }));
    Agentctl agentctl, machine;
    CHECK(agentctl(agent.socket(), {"stop", "web"}).exit == done);
    CHECK(agentctl.out.text().ends_with("web stopped in 1.5 s, gracefully\n"));
    FakeAgent unknown(lost_once([](const Request&) { return problem(404, "no task 'web'"); }));
    CHECK(machine(unknown.socket(), {"stop", "web"}).exit == no_such_task);
}

TEST_CASE("agentctl: an agent that doesn't come back is no agent, and the stop may go on or not") {
    FakeAgent agent([](const Request&) { return no_answer; });
    Agentctl agentctl, wrong;
    CHECK(agentctl(agent.socket(), {"stop", "web", "--patience", "0.1"}).exit == no_agent);
    CHECK(agentctl.err.text() ==
          "agentctl: lost the agent at '" + agent.socket() +
              "': it closed the connection before it answered; none has come back within 0.1 s: "
              "whether the stop of web goes on isn't known\n");
    CHECK(wrong(agent.socket(), {"stop", "web", "--patience", "soon"}).exit == wrong_usage);
}

TEST_CASE("agentctl: a terminal shows that the agent is waited for") {
    Agentctl agentctl;
    std::atomic<bool> back = false;
    FakeAgent agent([&](const Request& request) {
        if (!back) {
            if (request.line.starts_with("GET") &&
                agentctl.out.text().find("waiting for the agent to come back") !=
                    std::string::npos) {
                back = true;
            }
            return no_answer;
        }
        return ok(request.line.starts_with("GET") ? task("web", "STOPPING") : quick("web"));
    });
    CHECK(agentctl(agent.socket(), {"stop", "web"}, true).exit == done);
    CHECK(agentctl.out.text().find("  waiting for the agent to come back\x1b[K\n") !=
          std::string::npos);
}
