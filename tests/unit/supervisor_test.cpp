#include "supervisor/supervisor.hpp"

#include <doctest/doctest.h>

#include "tests/unit/house.hpp"

using namespace lastcall;

TEST_CASE_FIXTURE(
    FakeHouse, "a task is RUNNING when its command was executed, STOPPED when its tree is gone") {
    const TaskView view = start("web");
    CHECK(view.state.last_status == TaskStatus::running);
    CHECK(view.state.containers[0].pid == 4711);
    const auto record = stop("web");
    CHECK(story(record) == Story{"SIGTERM 0-1 completed", "graceful 1"});
    CHECK(status("web") == TaskStatus::stopped);
    CHECK(supervisor.view("web").state.containers[0].exit == ExitStatus{});
    // Before its command runs, when it does, when it has exited, and when nothing is left.
    REQUIRE(journal.tasks.size() == 4);
    CHECK(journal.tasks[0].last_status == TaskStatus::pending);
    CHECK(journal.tasks[0].containers[0].pid == 0);
    CHECK(journal.tasks[1].last_status == TaskStatus::running);
    CHECK(journal.tasks[1].containers[0].pid == 4711);
    CHECK(journal.tasks[2].containers[0].exit == ExitStatus{});
    CHECK(journal.tasks[3].last_status == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(FakeHouse, "a name is taken until its task is STOPPED, then it is free again") {
    start("web");
    CHECK_THROWS_WITH_AS(start("web"), "cannot start 'web': a task of that name is RUNNING",
                         Conflict);
    stop("web");
    CHECK(start("web").state.last_status == TaskStatus::running);
    CHECK(supervisor.views().size() == 1);
    CHECK_THROWS_AS(start("../etc"), BadRequest);
    CHECK_THROWS_AS(start(""), BadRequest);
}

TEST_CASE_FIXTURE(FakeHouse,
                  "a command that can't be executed leaves a STOPPED task that says why") {
    launcher.fails = true;
    CHECK_THROWS_AS(start("web"), std::system_error);
    const auto view = supervisor.view("web");
    CHECK(view.state.last_status == TaskStatus::stopped);
    CHECK(view.state.stop_code == StopCode::task_failed_to_start);
    CHECK(view.state.containers[0].reason.starts_with(
        "CannotStartContainerError: cannot start 'main'"));
    launcher.fails = false;
    CHECK(start("web").state.last_status == TaskStatus::running);
}

TEST_CASE_FIXTURE(FakeHouse, "it is registered when it listens, and not a moment before") {
    behind_load_balancer = true;
    listens_from = 7s;
    start("web");
    pass(20s);
    REQUIRE(load_balancer->registered.size() == 1);
    CHECK(load_balancer->registered[0] >= 7s);
    CHECK(load_balancer->registered[0] < 7s + 300ms);
}

TEST_CASE_FIXTURE(FakeHouse,
                  "the port that the load balancer names is learnt before anybody waits for it") {
    behind_load_balancer = true;
    load_balancer->port = 8081;
    start("web");
    pass(1s);
    CHECK(evidence[0]->named_ports == std::vector<std::uint16_t>{8081});
}

TEST_CASE_FIXTURE(FakeHouse, "register=0: learnt of, never registered, deregistered all the same") {
    behind_load_balancer = true;
    registers = false;
    start("web");
    pass(1s);
    CHECK(load_balancer->registered.empty());
    stop("web");
    CHECK(load_balancer->deregistered.size() == 1);
}

TEST_CASE_FIXTURE(FakeHouse,
                  "a load balancer that is silent at the start keeps nobody from stopping") {
    behind_load_balancer = true;
    load_balancer->silent = true;
    start("web");
    pass(3s);
    load_balancer->silent = false;
    load_balancer->unused_after = 2s;
    CHECK(story(stop("web")).back() == "graceful 3");
}

TEST_CASE_FIXTURE(FakeHouse,
                  "a task that exits by itself takes back its registration, and is recorded") {
    behind_load_balancer = true;
    start("web");
    pass(1s);
    launcher.launched[0]->exit_now({.code = 9});
    const auto record = sim.run(supervisor.stopped("web"));
    CHECK(record.stop_code == StopCode::essential_container_exited);
    CHECK(record.stopped_reason == "Essential container in task exited");
    CHECK(record.outcome == StopOutcome::exited);
    CHECK(record.containers[0].exit->code == 9);
    CHECK(load_balancer->deregistered.size() == 1);
}

TEST_CASE_FIXTURE(FakeHouse, "one that never listened has nothing to take back") {
    behind_load_balancer = true;
    listens_from = 100s;
    start("web");
    launcher.launched[0]->exit_now({.code = 9});
    sim.run(supervisor.stopped("web"));
    CHECK(load_balancer->deregistered.empty());
}

TEST_CASE_FIXTURE(FakeHouse, "a second request joins the stop and gets the same record") {
    launcher.prepare = [](FakeProcess&) {};
    start("web");
    supervisor.request_stop("web", {.reason = "first"});
    sim.at(5s, [this] { supervisor.request_stop("web", {.reason = "second", .force = true}); });
    const auto record = sim.run(supervisor.stopped("web"));
    CHECK(record.stopped_reason == "first");
    CHECK(story(record) == Story{"SIGTERM 0-5 interrupted", "SIGKILL 5-5 completed", "killed 5"});
    CHECK(sim.run(supervisor.stopped("web")).id == record.id);
    supervisor.request_stop("web", {});  // STOPPED: no effect
    CHECK(status("web") == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(FakeHouse, "restart stops, then starts the same definition as a new task") {
    const auto first = start("web").state.id;
    const auto second = sim.run(supervisor.restart("web", {}));
    CHECK(second.state.id != first);
    CHECK(second.state.definition.containers[0].command == std::vector<std::string>{"server"});
    CHECK(status("web") == TaskStatus::running);
    CHECK(launcher.launched.size() == 2);
}

TEST_CASE_FIXTURE(FakeHouse, "an unkillable task stays STOPPING, is named, and ends when it does") {
    launcher.prepare = [](FakeProcess& process) { process.unkillable = true; };
    start("web");
    const auto record = stop("web");
    CHECK(record.outcome == StopOutcome::unkillable);
    CHECK(status("web") == TaskStatus::stopping);
    CHECK(supervisor.view("web").survivors.size() == 1);
    CHECK_THROWS_AS(sim.run(supervisor.restart("web", {})), std::runtime_error);
    launcher.launched[0]->exit_now({.signal = SIGKILL});
    pass(1s);
    CHECK(status("web") == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(FakeHouse, "shutting down stops all side by side, and refuses new tasks") {
    for (const char* name : {"a", "b", "c"}) start(name);
    const auto records = sim.run(supervisor.shut_down({.reason = "The agent is shutting down"}));
    CHECK(records.size() == 3);
    for (const auto& record : records) CHECK(record.duration == 1s);
    CHECK(sim.clock.now().time_since_epoch() == 1s);
    CHECK_THROWS_AS(start("d"), Conflict);
}

TEST_CASE_FIXTURE(FakeHouse, "a STOPPED task stays in ps for a while, or until it is forgotten") {
    start("web");
    CHECK_THROWS_AS(supervisor.forget("web"), Conflict);
    stop("web");
    pass(2h);
    CHECK(supervisor.views().size() == 1);
    pass(2h);
    CHECK(supervisor.views().empty());
    CHECK_THROWS_WITH_AS(supervisor.view("web"), "there is no task 'web'", NoSuchTask);
}

TEST_CASE_FIXTURE(FakeHouse, "a journal that fails keeps no task from starting or stopping") {
    journal.broken = true;
    start("web");
    CHECK(story(stop("web")).back() == "graceful 1");
    CHECK(log.said("Task could not be recorded"));
}

// ------------------------------------------------------- what only the load balancer knows

TEST_CASE_FIXTURE(FakeHouse,
                  "a load balancer that never would refuses the task before it is started") {
    behind_load_balancer = true;
    load_balancer->introduces = [](Membership&) {
        throw LoadBalancerError("cannot find target group 'x'", false);
    };
    CHECK_THROWS_WITH_AS(start("web"), "cannot find target group 'x'", BadRequest);
    CHECK(launcher.launched.empty());
    const auto view = supervisor.view("web");
    CHECK(view.state.stop_code == StopCode::task_failed_to_start);
    CHECK(view.state.containers[0].reason ==
          "CannotStartContainerError: cannot find target group 'x'");
}

TEST_CASE_FIXTURE(FakeHouse,
                  "a load balancer that only can't say now keeps no task from starting") {
    behind_load_balancer = true;
    SUBCASE("it says so") {
        load_balancer->introduces = [](Membership&) {
            throw LoadBalancerError("cannot reach it", true);
        };
    }
    SUBCASE("it says nothing: for five seconds") { load_balancer->introduces_in = 1h; }
    CHECK(start("web").state.last_status == TaskStatus::running);
    CHECK(sim.clock.now() <= Clock::time_point(5s));
    CHECK(log.said("Load balancer can't be asked about a task"));
}

TEST_CASE_FIXTURE(FakeHouse,
                  "a load balancer says whether it is registered with, and on which port") {
    behind_load_balancer = true;
    registers = false;
    SUBCASE("it is") {
        load_balancer->introduces = [](Membership& membership) {
            membership.registers = true;
            membership.port = 8080;
        };
        start("web");
        pass(1s);
        CHECK(load_balancer->registered.size() == 1);
        CHECK(evidence[0]->named_ports.front() == 8080);
    }
    SUBCASE("it isn't") {
        load_balancer->introduces = [](Membership&) {};
        start("web");
        pass(1s);
        CHECK(load_balancer->registered.empty());
    }
    stop("web");
    CHECK(load_balancer->deregistered.size() == 1);
}

TEST_CASE_FIXTURE(FakeHouse, "a load balancer's own delay is the default of ours") {
    behind_load_balancer = true;
    load_balancer->unused_after.reset();
    load_balancer->introduces = [](Membership& membership) { membership.delay = 60s; };
    auto definition = task("web");
    Clock::duration expected = 60s;
    SUBCASE("none is configured") {}
    SUBCASE("one is configured") {
        definition.stop.deregistration_delay = expected = 20s;
        definition.stop.delay_is_chosen = true;
    }
    sim.run(supervisor.start(definition));
    pass(1s);
    const auto record = stop("web");
    CHECK(record.deregistration_delay == expected);
    CHECK(record.phases[1].duration == expected);
    CHECK(record.phases[1].outcome == Outcome::timed_out);
}

TEST_CASE_FIXTURE(FakeHouse, "a stop that comes before the introduction hears of it on the way") {
    behind_load_balancer = true;
    load_balancer->unused_after.reset();
    load_balancer->introduces_in = 1h;
    load_balancer->introduces = [](Membership& membership) { membership.settle = 2s; };
    start("web");
    const auto begun = sim.clock.now();
    load_balancer->introduces_in = 1s;
    supervisor.request_stop("web", {});
    pass(9s);
    CHECK(Clock::time_point(load_balancer->deregistered.front()) - begun < 1s);
    CHECK(load_balancer->introduced == 1);
    supervisor.request_stop("web", {.force = true});
    sim.run(supervisor.stopped("web"));
}

TEST_CASE_FIXTURE(FakeHouse, "who is introduced is told of, once") {
    behind_load_balancer = true;
    start("web");
    pass(1s);
    CHECK(met == std::vector<std::string>{"fake:web"});
}
