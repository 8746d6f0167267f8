#include <doctest/doctest.h>

#include "tests/unit/stopping.hpp"

using namespace lastcall;

namespace {

/// How one task's main process ended, and who is said to have done it.
struct Ended : Stopping {
    ContainerEnd end() { return run().containers.at(0); }
};

/// A task with a hook that lives as each test prepares it.
struct Hooked : Stopping {
    Sent hook_heard;

    Hooked() { settings().pre_stop = "sync"; }
    void prepare(std::function<void(FakeProcess&)> further) {
        launcher.prepare = [this, further](FakeProcess& hook) {
            hook.hearing = [this](int number, SignalScope scope) {
                CHECK(scope == SignalScope::tree);
                hook_heard.emplace_back(sim.clock.now().time_since_epoch(), number);
            };
            further(hook);
        };
    }
};

}  // namespace

TEST_CASE_FIXTURE(Ended, "the stop signal that we sent is told from the same of somebody else") {
    SUBCASE("ours") {
        process.exits_as = {.signal = SIGTERM};
        CHECK(end().killed_by == Killer::sigterm);
    }
    SUBCASE("somebody else's, before any of ours") {
        process.exit_at(10s, {.signal = SIGTERM});
        CHECK(end().killed_by == Killer::somebody_else);
    }
    SUBCASE("somebody else's, and what it leaves behind gets ours") {
        process.has_children = true;
        process.tree_leaves_on[SIGTERM] = 1s;
        process.exit_at(10s, {.signal = SIGTERM});
        CHECK(end().killed_by == Killer::somebody_else);
        CHECK(process.tree_signals == Sent{{10s, SIGTERM}});
    }
    SUBCASE("ours, as configured") {
        settings().stop_signal = SIGQUIT;
        process.exits_on[SIGQUIT] = 1s;
        process.exits_as = {.signal = SIGQUIT};
        CHECK(end().killed_by == Killer::sigterm);
    }
    SUBCASE("SIGTERM of somebody else, while ours was another") {
        settings().stop_signal = SIGQUIT;
        process.exit_at(25s, {.signal = SIGTERM});
        CHECK(end().killed_by == Killer::somebody_else);
    }
}

TEST_CASE_FIXTURE(Ended, "our SIGKILL is told from somebody else's") {
    process.exits_on.clear();
    SUBCASE("ours") { CHECK(end().killed_by == Killer::sigkill); }
    SUBCASE("somebody else's, while we still waited") {
        process.exit_at(49s, {.signal = SIGKILL});
        const auto record = run();
        CHECK(record.containers[0].killed_by == Killer::somebody_else);
        CHECK(record.outcome == StopOutcome::graceful);
    }
    SUBCASE("somebody else's, and ours went to the children") {
        process.has_children = true;
        process.exit_at(49s, {.signal = SIGKILL});
        const auto record = run();
        CHECK(record.containers[0].killed_by == Killer::somebody_else);
        CHECK(record.outcome == StopOutcome::killed);
    }
}

TEST_CASE_FIXTURE(Ended, "the OOM killer is named, whatever else went on") {
    const ExitStatus killed{.signal = SIGKILL, .out_of_memory = true};
    SUBCASE("before the stop") { process.exit_at(10s, killed); }
    SUBCASE("while it stops") { process.exits_as = killed; }
    SUBCASE("a shell that passes it on") {
        process.exit_at(10s, {.code = 137, .out_of_memory = true});
    }
    const auto told = end();
    CHECK(told.killed_by == Killer::oom_killer);
    CHECK(told.reason == "OutOfMemoryError: Container killed due to memory usage");
}

TEST_CASE_FIXTURE(Ended, "a fault is nobody's, and a code neither") {
    SUBCASE("a fault") {
        process.exit_at(10s, {.signal = SIGSEGV, .core_dumped = true});
        const auto told = end();
        CHECK_FALSE(told.killed_by);
        CHECK(told.exit == ExitStatus{.signal = SIGSEGV, .core_dumped = true});
        CHECK(told.reason.empty());
    }
    SUBCASE("a fault on our signal") {
        process.exits_as = {.signal = SIGABRT};
        CHECK_FALSE(end().killed_by);
    }
    SUBCASE("SIGABRT as the stop signal is ours") {
        settings().stop_signal = SIGABRT;
        process.exits_on[SIGABRT] = 1s;
        process.exits_as = {.signal = SIGABRT};
        CHECK(end().killed_by == Killer::sigterm);
    }
    SUBCASE("a code that looks like a signal") {
        process.exits_as = {.code = 143};
        CHECK_FALSE(end().killed_by);
    }
}

TEST_CASE_FIXTURE(Stopping, "its cgroup is removed when it is empty, and that is a phase") {
    process.own_cgroup = "/cg/lastcall-id-web";
    SUBCASE("removed") {
        const auto record = run();
        CHECK(story(record) == Story{"DEREGISTER 0-0 completed", "DRAIN 0-20 completed",
                                     "SIGTERM 20-21 completed", "CLEANUP 21-21 completed",
                                     "graceful 21"});
        CHECK(record.phases[3].container == "web");
        CHECK(detail<std::string>(record, 3, "cgroup") == "/cg/lastcall-id-web");
        CHECK(record.phases[3].detail.find("unattributed") == nullptr);
    }
    SUBCASE("after SIGKILL") {
        process.exits_on.clear();
        CHECK(story(run()).at(4) == "CLEANUP 50-50 completed");
    }
    SUBCASE("it can't be: untidy, and stopped all the same") {
        process.unremovable = true;
        const auto record = run();
        CHECK(story(record)[3] == "CLEANUP 21-21 failed");
        CHECK(detail<std::string>(record, 3, "error") == "cannot remove the cgroup: busy");
        CHECK(record.outcome == StopOutcome::graceful);
    }
    CHECK(process.cleaned_up);
    CHECK(task.last_status == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(Stopping, "while anybody is left nothing is removed") {
    process.own_cgroup = "/cg/lastcall-id-web";
    process.exits_on.clear();
    process.unkillable = true;
    CHECK(story(run()).back() == "unkillable 60");
    CHECK_FALSE(process.cleaned_up);
    CHECK(task.last_status == TaskStatus::stopping);
}

TEST_CASE_FIXTURE(Stopping, "who may be left is named, and is no survivor") {
    process.may_be_left = {{.pid = 11, .command = "sleep", .state = 'S'},
                           {.pid = 12, .command = "cp", .state = 'D', .wait_channel = "nfs"}};
    const auto record = run();
    CHECK(story(record)[3] == "CLEANUP 21-21 completed");
    CHECK(detail<std::int64_t>(record, 3, "unattributed") == 2);
    CHECK(detail<std::string>(record, 3, "unattributedProcesses") == "11 'sleep' S, 12 'cp' D nfs");
    CHECK(record.phases[3].detail.find("cgroup") == nullptr);
    CHECK(record.survivors.empty());
    CHECK(record.outcome == StopOutcome::graceful);
    CHECK(task.last_status == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(Hooked, "what a hook leaves behind is killed, and the task not") {
    SUBCASE("it has exited") {
        prepare([](FakeProcess& hook) {
            hook.has_children = true;
            hook.exit_at(22s, {});
        });
        CHECK(story(run())[2] == "PRE_STOP 20-22 completed");
        CHECK(hook_heard == Sent{{22s, SIGKILL}});
        CHECK(process.signals == Sent{{22s, SIGTERM}});
    }
    SUBCASE("it hangs") {
        prepare([](FakeProcess& hook) { hook.has_children = true; });
        CHECK(story(run())[2] == "PRE_STOP 20-30 timed_out");
        CHECK(hook_heard == Sent{{30s, SIGKILL}});
        CHECK(process.signals == Sent{{30s, SIGTERM}});
    }
    SUBCASE("somebody wants it shorter") {
        prepare([](FakeProcess&) {});
        join_at(24s, {.drain = false, .force = true});
        const auto record = run();
        CHECK(story(record)[2] == "PRE_STOP 20-24 interrupted");
        CHECK(detail<std::string>(record, 2, "requestedBy") == "uid 7, pid 8, via api");
        CHECK(hook_heard == Sent{{24s, SIGKILL}});
    }
    SUBCASE("it can't be killed: a second, and the stop goes on") {
        prepare([](FakeProcess& hook) { hook.unkillable = true; });
        CHECK(story(run())[2] == "PRE_STOP 20-31 timed_out");
        CHECK(process.signals == Sent{{31s, SIGTERM}});
    }
    CHECK(task.last_status == TaskStatus::stopped);
}

TEST_CASE_FIXTURE(Hooked, "a hook's command, its name and its mark are its own") {
    prepare([](FakeProcess& hook) { hook.exit_now({}); });
    run();
    const auto& definition = launcher.definitions.at(0);
    CHECK(definition.is_hook);
    CHECK(definition.name == "pre-stop");
    CHECK(launcher.task_ids.at(0) == "id-pre-stop");
}
