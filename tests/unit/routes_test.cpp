#include "agent/api/routes.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include "agent/api/handlers.hpp"
#include "tests/unit/api.hpp"

using namespace lastcall;
using api::Task;

TEST_CASE_FIXTURE(Api, "every route leads somewhere: none of them is unknown or the wrong method") {
    for (const api::Route& each : api::routes()) {
        CAPTURE(each.path);
        std::string path(each.path);
        if (const auto at = path.find("{task}"); at != path.npos) path.replace(at, 6, "web");
        const auto said = trouble(std::string(each.method), path);
        CHECK(said.find("there is nothing at") == said.npos);
        CHECK_FALSE(said.starts_with("405"));
    }
}

TEST_CASE_FIXTURE(Api, "what is not there is a 404, what can't be done to it a 405") {
    CHECK(trouble("GET", "/") == "404 there is nothing at '/'");
    CHECK(trouble("GET", "/v1/events") == "404 there is nothing at '/v1/events'");
    CHECK(trouble("GET", "/metrics") == "404 there is nothing at '/metrics'");
    CHECK(trouble("GET", "/v1/tasks/") == "400 " + *name_trouble(""));
    CHECK(trouble("GET", "/v1/tasks/web/stop/now") ==
          "404 there is nothing at '/v1/tasks/web/stop/now'");
    CHECK(trouble("GET", "*") == "404 there is nothing at '*'");
    CHECK(trouble("PUT", "/v1/tasks") == "405 'PUT' can't be done to '/v1/tasks', only GET, POST");
    const auto response = ask("GET", "/v1/tasks/web/stop");
    CHECK(response.status == 405);
    REQUIRE(response.headers.size() == 1);
    CHECK(response.headers[0].first == "Allow");
    CHECK(response.headers[0].second == "POST");
}

TEST_CASE_FIXTURE(Api, "a parameter that nobody knows is refused, and so is one that comes twice") {
    CHECK(trouble("GET", "/v1/tasks?all=1") ==
          "400 the parameter 'all' is unknown here; none is known");
    CHECK(trouble("GET", "/v1/stops?limt=1") ==
          "400 the parameter 'limt' is unknown here; 'limit' is");
    CHECK(trouble("GET", "/v1/stops?limit=1&limit=2") == "400 the parameter 'limit' comes twice");
    CHECK(trouble("GET", "/v1/stops?%6cimit=1&") == "none");
    CHECK(trouble("GET", "/v1/stops?limit=%zz") ==
          "400 cannot read '%zz': '%' needs two hex digits");
    for (const std::string text : {"0", "10001", "-1", "x", "", "1x", "99999999999999999999"}) {
        CHECK(trouble("GET", "/v1/stops?limit=" + text) ==
              "400 'limit' must be 1 to 10000, not '" + text + "'");
    }
}

TEST_CASE_FIXTURE(Api, "a task's name is percent-decoded and must be one") {
    start();
    CHECK(shape<Task>(200, ask("GET", "/v1/tasks/w%65b")).name == "web");
    CHECK(trouble("GET", "/v1/tasks/nobody") == "404 there is no task 'nobody'");
    CHECK(trouble("GET", "/v1/tasks/%2e%2e") == "400 " + *name_trouble(".."));
    CHECK(trouble("GET", "/v1/tasks/a%2Fb") == "400 " + *name_trouble("a/b"));
    CHECK(trouble("GET", "/v1/tasks/a%") == "400 cannot read 'a%': '%' needs two hex digits");
    const std::string endless(300, 'x');
    CHECK(trouble("POST", "/v1/tasks/" + endless + "/stop") == "400 " + *name_trouble(endless));
}

TEST_CASE_FIXTURE(Api, "the agent tells what it is and how it is configured") {
    CHECK(ask("GET", "/healthz").body == R"({"status":"ok"})");
    const auto metadata = shape<api::Metadata>(200, ask("GET", "/v1/metadata"));
    CHECK(metadata.Cluster == "default");
    CHECK(metadata.Version == LASTCALL_VERSION);
    CHECK(metadata.pid == ::getpid());
    CHECK(metadata.mode == "serve");
    const auto list = shape<api::SettingList>(200, ask("GET", "/v1/config"));
    REQUIRE(list.settings.size() == configuration.rows.size());
    CHECK(list.settings[0].name == configuration.rows[0].name);
    CHECK(list.settings[0].source == "default");
}

TEST_CASE_FIXTURE(Api, "an upgrade is begun, or what is in its way is told") {
    context.mode = "run";
    CHECK(trouble("POST", "/v1/upgrade") ==
          "409 cannot upgrade: this agent wraps one command and ends with it");
    context.mode = "serve";
    context.started_at = "2026-01-31T12:00:00.000000Z";
    std::vector<std::string> asked;
    context.upgrade = [&](std::string binary) -> awaitable<void> {
        asked.push_back(binary);
        if (binary == "/bad") throw Conflict("cannot upgrade to '/bad': it is bad");
        co_return;
    };
    const auto before = shape<api::Metadata>(202, ask("POST", "/v1/upgrade"));
    CHECK(before.startedAt == context.started_at);
    CHECK_FALSE(before.upgradeFailure);
    CHECK(ask("POST", "/v1/upgrade", R"({"binary":"/opt/agent"})").status == 202);
    CHECK(trouble("POST", "/v1/upgrade", R"({"binary":"/bad"})") ==
          "409 cannot upgrade to '/bad': it is bad");
    CHECK(asked == std::vector<std::string>{"", "/opt/agent", "/bad"});
    CHECK(trouble("POST", "/v1/upgrade", R"({"binary":"agent"})") ==
          "400 'binary' must be an absolute path, not 'agent'");
    CHECK(trouble("POST", "/v1/upgrade", R"({"binary":"/a\u0000b"})").starts_with("400 "));
    CHECK(trouble("POST", "/v1/upgrade", R"({"path":"/a"})").starts_with("400 'path' is unknown"));
    CHECK(asked.size() == 3);
    context.upgrade_failure = "cannot upgrade to '/a': no";
    CHECK(shape<api::Metadata>(200, ask("GET", "/v1/metadata")).upgradeFailure ==
          "cannot upgrade to '/a': no");
}

TEST_CASE_FIXTURE(Api, "a task is started, listed and shown") {
    const auto response = ask("POST", "/v1/tasks",
                              R"({"name":"web","command":["nginx","-g"],"ports":[8081],)"
                              R"("loadBalancers":["fake://user:pass@lb"],"stopTimeout":"2s"})");
    const Task task = shape<Task>(201, response);
    CHECK(response.headers.at(0) ==
          std::pair<std::string, std::string>("Location", "/v1/tasks/web"));
    CHECK(task.lastStatus == "RUNNING");
    CHECK(task.desiredStatus == "RUNNING");
    CHECK(task.id.size() == 32);
    CHECK(task.startedAt == "1970-01-01T00:00:00.000000Z");
    CHECK(task.containers.at(0).command == std::vector<std::string>{"nginx", "-g"});
    CHECK(task.containers.at(0).pid == 4711);
    CHECK(task.ports == std::vector<std::int64_t>{8081});
    CHECK(task.loadBalancers == std::vector<std::string>{"fake://***@lb"});
    CHECK(task.stopTimeoutMs == 2000);
    CHECK(task.deregistrationDelayMs == 300'000);
    CHECK(task.connections == 2);
    CHECK_FALSE(task.stopping);
    REQUIRE(launcher.definitions.size() == 1);
    CHECK(shape<api::TaskList>(200, ask("GET", "/v1/tasks")).tasks.at(0).id == task.id);
    CHECK(shape<Task>(200, ask("GET", "/v1/tasks/web")).id == task.id);
}

TEST_CASE_FIXTURE(Api, "a task that can't be defined is refused in one line") {
    const auto refusal = [this](const std::string& body) {
        return trouble("POST", "/v1/tasks", body);
    };
    CHECK(refusal("").starts_with("400 cannot read JSON: "));
    CHECK(refusal("{}") == "400 'name' is missing");
    CHECK(refusal(R"({"name":"web","command":["a"],"cmd":[]})")
              .starts_with("400 'cmd' is unknown; known are name,"));
    CHECK(refusal(R"({"name":"../web","command":["a"]})") == "400 " + *name_trouble("../web"));
    CHECK(refusal(R"({"name":"web","command":[]})") ==
          "400 'command' must name a program, not nothing");
    CHECK(refusal(R"({"name":"web","command":[""]})") ==
          "400 'command' must name a program, not nothing");
    CHECK(refusal(R"({"name":"web","command":["a\u0000b"]})") ==
          "400 'command' can't have a NUL character in it");
    CHECK(refusal(R"({"name":"web","command":["a"],"environment":["=b"]})") ==
          "400 'environment' must be a list of NAME=value, not '=b'");
    CHECK(refusal(R"({"name":"web","command":["a"],"ports":[0]})") ==
          "400 'ports' must be 1 to 65535, not 0");
    CHECK(refusal(R"({"name":"web","command":["a"],"ports":[65536]})") ==
          "400 'ports' must be 1 to 65535, not 65536");
    CHECK(refusal(R"({"name":"web","command":["a"],"stopTimeout":"soon"})").starts_with("400 "));
    CHECK(refusal(R"({"name":"web","command":["a"],"loadBalancers":["gopher:x"]})") ==
          "400 cannot use 'gopher:x': unknown scheme");
    CHECK(launcher.launched.empty());
}

TEST_CASE_FIXTURE(Api, "a name in use is a conflict, one that is free again isn't") {
    start();
    CHECK(trouble("POST", "/v1/tasks", R"({"name":"web","command":["a"]})") ==
          "409 cannot start 'web': a task of that name is RUNNING");
    ask("POST", "/v1/tasks/web/stop");
    start();
}

TEST_CASE_FIXTURE(Api, "a command that can't be executed is a 422, and stopping it a conflict") {
    launcher.fails = true;
    CHECK(trouble("POST", "/v1/tasks", R"({"name":"web","command":["nginx"]})") ==
          "422 cannot start 'web': No such file or directory");
    const Task task = shape<Task>(200, ask("GET", "/v1/tasks/web"));
    CHECK(task.lastStatus == "STOPPED");
    CHECK(task.stopCode == "TaskFailedToStart");
    CHECK(task.containers.at(0).reason ==
          "CannotStartContainerError: cannot start 'web': No such file or directory");
    CHECK(trouble("POST", "/v1/tasks/web/stop") == "409 cannot stop 'web': it never started");
}

TEST_CASE_FIXTURE(Api, "a signal goes to the task, and nothing else does") {
    start();
    CHECK(shape<Task>(200, ask("POST", "/v1/tasks/web/signal", R"({"signal":"HUP"})")).lastStatus ==
          "RUNNING");
    CHECK(launcher.launched.at(0)->signals == Sent{{0s, SIGHUP}});
    CHECK(trouble("POST", "/v1/tasks/web/signal", R"({"signal":"SOON"})") ==
          "400 'signal' must be a signal's name or number (HUP, SIGHUP, 1), not 'SOON'");
    CHECK(trouble("POST", "/v1/tasks/web/signal").starts_with("400 cannot read JSON: "));
    CHECK(trouble("POST", "/v1/tasks/nobody/signal", R"({"signal":"1"})") ==
          "404 there is no task 'nobody'");
    ask("POST", "/v1/tasks/web/stop");
    CHECK(trouble("POST", "/v1/tasks/web/signal", R"({"signal":"HUP"})") ==
          "400 cannot signal 'web': it is STOPPED");
}

TEST_CASE_FIXTURE(Api, "only a stopped task is forgotten, and its stops stay known") {
    start();
    CHECK(trouble("DELETE", "/v1/tasks/web") ==
          "409 cannot forget 'web': it is RUNNING, stop it first");
    ask("POST", "/v1/tasks/web/stop");
    CHECK(shape<Task>(200, ask("DELETE", "/v1/tasks/web")).lastStatus == "STOPPED");
    CHECK(trouble("GET", "/v1/tasks/web") == "404 there is no task 'web'");
    CHECK(trouble("DELETE", "/v1/tasks/web") == "404 there is no task 'web'");
    CHECK(shape<api::StopList>(200, ask("GET", "/v1/tasks/web/stops")).stops.size() == 1);
}

TEST_CASE_FIXTURE(Api, "an agent that wraps one command takes no further tasks and restarts none") {
    context.mode = "run";
    CHECK(trouble("POST", "/v1/tasks", R"({"name":"web","command":["a"]})") ==
          "409 cannot start a task: this agent wraps one command, `agent serve` takes more");
    CHECK(trouble("POST", "/v1/tasks/web/restart") ==
          "409 cannot restart 'web': this agent wraps one command and ends with it");
}
