#include <doctest/doctest.h>

#include "tests/unit/api.hpp"

using namespace lastcall;
using api::Task;

namespace {
constexpr const char* behind = R"(,"loadBalancers":["fake:web"])";
}

TEST_CASE_FIXTURE(Api, "a stop is answered with its record when the task is STOPPED") {
    start();
    wait_until(3s);
    const auto stop = shape<api::Stop>(200, ask("POST", "/v1/tasks/web/stop"));
    CHECK(now() == 4s);
    CHECK(stop.task == "web");
    CHECK(stop.stopCode == "UserInitiated");
    CHECK(stop.stoppedReason == "Task stopped by user");
    CHECK(stop.requestedBy.uid == 1000);
    CHECK(stop.requestedBy.pid == 4711);
    CHECK(stop.requestedBy.via == "api");
    CHECK(stop.requestedAt == "1970-01-01T00:00:03.000000Z");
    CHECK(stop.stoppedAt == "1970-01-01T00:00:04.000000Z");
    CHECK(stop.durationMs == 1000);
    CHECK(stop.outcome == "graceful");
    CHECK(stop.containers.at(0).exitCode == 0);
    CHECK(stop.phases.at(0).phase == "SIGTERM");
    CHECK(stop.phases.at(0).container == "web");
    CHECK(stop.phases.at(0).durationMs == 1000);
    CHECK(stop.phases.at(0).outcome == "completed");
    CHECK(stop.phases.at(0).detail.at("signal") == "SIGTERM");
    CHECK(stop.phases.at(0).detail.at("stopTimeoutMs") == 30'000);
    const Task task = shape<Task>(200, ask("GET", "/v1/tasks/web"));
    CHECK(task.lastStatus == "STOPPED");
    CHECK(task.stoppedReason == "Task stopped by user");
    CHECK(task.containers.at(0).exitCode == 0);
    CHECK_FALSE(task.containers.at(0).pid);  // it may be a stranger's by now
    CHECK(shape<api::Stop>(200, ask("POST", "/v1/tasks/web/stop")).id == stop.id);
}

TEST_CASE_FIXTURE(Api, "nobody has to wait: a 202 at once, and the task shows how it goes on") {
    start(behind);
    wait_until(1s);
    const auto first = shape<api::Progress>(202, ask("POST", "/v1/tasks/web/stop?wait=false"));
    CHECK(now() == 1s);
    CHECK(first.stop.task == "web");
    CHECK_FALSE(first.stop.outcome);
    wait_until(6s);
    const Task task = shape<Task>(200, ask("GET", "/v1/tasks/web"));
    CHECK(task.lastStatus == "DEACTIVATING");
    CHECK(task.desiredStatus == "STOPPED");
    REQUIRE(task.stopping);
    CHECK(task.stopping->connections == 3);
    CHECK(task.stopping->waitingFor == "3 in flight at fake:web");
    CHECK(task.stopping->next == "SIGTERM");
    CHECK(task.stopping->nextInMs == 295'000);
    CHECK(task.stopping->stop.phases.back().phase == "DRAIN");
    CHECK_FALSE(task.stopping->stop.phases.back().outcome);
    const auto stop = shape<api::Stop>(200, ask("POST", "/v1/tasks/web/stop"));
    CHECK(stop.outcome == "graceful");
    CHECK_FALSE(shape<Task>(200, ask("GET", "/v1/tasks/web")).stopping);
    // Too late not to wait for it.
    CHECK(shape<api::Stop>(200, ask("POST", "/v1/tasks/web/stop?wait=false")).id == stop.id);
}

TEST_CASE_FIXTURE(Api, "what a person wishes reaches the stop") {
    launcher.prepare = [](FakeProcess&) {};  // reacts to nothing
    start(behind);
    const auto stop = shape<api::Stop>(
        200, ask("POST", "/v1/tasks/web/stop",
                 R"({"drain":false,"timeout":"1.5","signal":"INT","reason":"moving out"})"));
    CHECK(now() == 1500ms);
    CHECK(stop.outcome == "killed");
    CHECK(stop.stoppedReason == "moving out");
    CHECK(stop.containers.at(0).signal == "SIGKILL");
    CHECK(stop.containers.at(0).killedBy == "SIGKILL");
    CHECK_FALSE(stop.containers.at(0).exitCode);
    CHECK(launcher.launched.at(0)->signals == Sent{{0s, SIGINT}});
}

TEST_CASE_FIXTURE(Api, "a drain timeout limits the drain, and a later request forces the end") {
    launcher.prepare = [](FakeProcess&) {};
    start(behind);
    ask("POST", "/v1/tasks/web/stop?wait=false", R"({"drainTimeout":"5s"})");
    wait_until(7s);
    CHECK(launcher.launched.at(0)->signals == Sent{{5s, SIGTERM}});
    const auto stop = shape<api::Stop>(200, ask("POST", "/v1/tasks/web/stop", R"({"force":true})"));
    CHECK(now() == 7s);
    CHECK(stop.outcome == "killed");
}

TEST_CASE_FIXTURE(Api, "a stop that SIGKILL can't end is a 500 with the record in it") {
    launcher.prepare = [](FakeProcess& process) { process.unkillable = true; };
    start();
    const auto response = ask("POST", "/v1/tasks/web/stop", R"({"force":true})");
    const auto problem = shape<api::Problem>(500, response);
    CHECK(response.content_type == "application/problem+json");
    CHECK(problem.detail == "cannot stop 'web': SIGKILL didn't end 4711 main (state D)");
    REQUIRE(problem.stop);
    CHECK(problem.stop->outcome == "unkillable");
    CHECK(problem.stop->survivors == 1);
    CHECK(problem.stop->survivorDetails.at(0).state == "D");
    const Task task = shape<Task>(200, ask("GET", "/v1/tasks/web"));
    CHECK(task.lastStatus == "STOPPING");
    CHECK(task.survivors.at(0).command == "main");
}

TEST_CASE_FIXTURE(Api, "wishes that can't be understood change nothing") {
    start();
    const auto refusal = [this](const std::string& body) {
        return trouble("POST", "/v1/tasks/web/stop", body);
    };
    CHECK(refusal("[]") == "400 the whole must be an object, not []");
    CHECK(refusal(R"({"forse":true})")
              .starts_with("400 'forse' is unknown; known are drain, force,"));
    CHECK(refusal(R"({"timeout":"1d"})") ==
          "400 'timeout' must be a duration such as 30, 500ms or 1m30s, not '1d'");
    CHECK(refusal(R"({"drainTimeout":"-1s"})") ==
          "400 'drainTimeout' must be a duration such as 30, 500ms or 1m30s, not '-1s'");
    CHECK(refusal(R"({"signal":"99"})") ==
          "400 'signal' must be a signal's name or number (HUP, SIGHUP, 1), not '99'");
    CHECK(refusal(R"({"reason":")" + std::string(1025, 'x') + "\"}") ==
          "400 'reason' must be at most 1024 bytes long, not 1025");
    CHECK(trouble("POST", "/v1/tasks/web/stop?wait=no") ==
          "400 'wait' must be true or false, not 'no'");
    CHECK(trouble("POST", "/v1/tasks/nobody/stop") == "404 there is no task 'nobody'");
    CHECK(shape<Task>(200, ask("GET", "/v1/tasks/web")).desiredStatus == "RUNNING");
}

TEST_CASE_FIXTURE(Api, "a restart answers with the new task of the same name") {
    const Task old = start();
    const Task task = shape<Task>(200, ask("POST", "/v1/tasks/web/restart"));
    CHECK(now() == 1s);
    CHECK(task.lastStatus == "RUNNING");
    CHECK(task.id != old.id);
    CHECK(launcher.launched.size() == 2);
    const auto stops = shape<api::StopList>(200, ask("GET", "/v1/tasks/web/stops")).stops;
    CHECK(stops.at(0).stoppedReason == "Task restarted by user");
}

TEST_CASE_FIXTURE(Api, "a restart that can't execute the command is a 422") {
    start();
    launcher.fails = true;
    CHECK(trouble("POST", "/v1/tasks/web/restart") ==
          "422 cannot start 'web': No such file or directory");
}

TEST_CASE_FIXTURE(Api,
                  "records are listed newest first, of one task or of all, as many as asked for") {
    start("", "web1");
    start("", "web2");
    ask("POST", "/v1/tasks/web1/stop");
    ask("POST", "/v1/tasks/web2/stop");
    const auto tasks_of = [this](const std::string& target) {
        std::vector<std::string> names;
        for (const auto& each : shape<api::StopList>(200, ask("GET", target)).stops)
            names.push_back(each.task);
        return names;
    };
    using Names = std::vector<std::string>;
    CHECK(tasks_of("/v1/stops") == Names{"web2", "web1"});
    CHECK(tasks_of("/v1/stops?limit=1") == Names{"web2"});
    CHECK(tasks_of("/v1/tasks/web1/stops") == Names{"web1"});
    start("", "quiet");
    CHECK(tasks_of("/v1/tasks/quiet/stops").empty());
    CHECK(trouble("GET", "/v1/tasks/nobody/stops") == "404 there is no task 'nobody'");
}

TEST_CASE_FIXTURE(Api, "two who wait for the same stop get the same record") {
    start();
    const auto first = shape<api::Progress>(202, ask("POST", "/v1/tasks/web/stop?wait=false"));
    const auto one = ask("POST", "/v1/tasks/web/stop"), two = ask("POST", "/v1/tasks/web/stop");
    CHECK(one.body == two.body);
    CHECK(shape<api::Stop>(200, one).id == first.stop.id);
}
