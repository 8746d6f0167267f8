#include "agent/notices.hpp"

#include <doctest/doctest.h>

#include "agent/utc.hpp"
#include "tests/unit/fake_program.hpp"
#include "tests/unit/house.hpp"

using namespace lastcall;

namespace {

struct Noticed : FakeHouse {
    Stage stage;
    std::vector<std::string> heard;
    std::optional<Notices> notices;
    std::string watch_id;

    Noticed() {
        stage.begins = [this](int) {
            stage.say(R"({"helper":"a","version":"1","protocol":1,"abilities":["watch"]})"
                      "\n");
        };
        stage.hears = [this](int, const std::string& line) {
            heard.push_back(line);
            const auto id = line.substr(6, line.find(',') - 6);
            if (line.find("\"watch\"") != line.npos) {
                watch_id = id;
                live();
            }
            if (line.find("\"complete\"") != line.npos) {
                stage.say("{\"id\":" + id + ",\"state\":\"completed\"}\n");
            }
        };
        stage.dismissed = [this](int) { stage.die("it exited with code 0"); };
    }
    /// Says once a minute that it watches.
    void live() {
        stage.say("{\"id\":" + watch_id + ",\"state\":\"watching\"}\n");
        sim.at((sim.clock.now() + 1min).time_since_epoch(), [this] { live(); });
    }
    void listen(NoticeWishes wishes) {
        notices.emplace(Notices::Parts{.executor = sim.executor(),
                                       .clock = sim.clock,
                                       .log = log,
                                       .supervisor = supervisor,
                                       .start = starter(sim.executor(), sim.clock, stage),
                                       .program = "/x/agent-lb-aws"},
                        std::move(wishes));
        sim.spawn([](Noticed& world) -> awaitable<void> {
            try {
                co_await world.notices->work();
            } catch (const boost::system::system_error&) {  // the world ends
            }
        }(*this));
        pass(100ms);
    }
    void notice(const std::string& kind, std::optional<Clock::duration> in = {}) {
        std::string line =
            "{\"id\":" + watch_id + ",\"notice\":\"" + kind + "\",\"reason\":\"why\"";
        if (in) line += ",\"at\":\"" + utc_text(sim.clock.utc() + *in) + "\"";
        stage.say(line + "}\n");
    }
    bool completed_with(const std::string& result) const {
        return !heard.empty() &&
               heard.back().ends_with("\"do\":\"complete\",\"result\":\"" + result + "\"}");
    }
};

}  // namespace

TEST_CASE_FIXTURE(Noticed, "a spot notice stops all tasks, and its time is their deadline") {
    launcher.prepare = [](FakeProcess&) {};  // deaf to SIGTERM
    listen({.spot = true});
    CHECK(heard.front().ends_with("\"do\":\"watch\",\"spot\":true}"));
    start("web");
    start("db");
    notice("SpotInterruption", 120s);
    const auto begun = sim.clock.now();
    const auto record = sim.run(supervisor.stopped("web"));
    sim.run(supervisor.stopped("db"));
    CHECK(record.stop_code == StopCode::spot_interruption);
    CHECK(record.stopped_reason == "why");
    CHECK(record.requested_by.via == "notice");
    CHECK(sim.clock.now() - begun == 119s);  // all of the time that there was, but for the reserve
    CHECK(record.outcome == StopOutcome::killed);
    CHECK_THROWS_WITH_AS(start("new"), "cannot start a task: this machine is about to end (why)",
                         Conflict);
    CHECK(heard.size() == 1);  // no hook, nothing to complete
}

TEST_CASE_FIXTURE(Noticed,
                  "a lifecycle hook is completed when the last task is STOPPED, and not before") {
    launcher.prepare = [this](FakeProcess& process) {
        process.exits_on[SIGTERM] = launcher.launched.empty() ? 5s : 20s;
    };
    listen({.hook = "group/hook", .on_failure = "ABANDON"});
    CHECK(heard.front().ends_with("\"spot\":false,\"hook\":\"group/hook\"}"));
    start("quick");
    start("slow");
    notice("TerminationNotice");
    pass(19s);
    CHECK(status("quick") == TaskStatus::stopped);
    CHECK(heard.size() == 1);
    notice("TerminationNotice");  // once more: nothing new
    pass(2s);
    CHECK(status("slow") == TaskStatus::stopped);
    CHECK(heard.size() == 2);
    CHECK(completed_with("CONTINUE"));
    CHECK(supervisor.view("slow").state.stop_code == StopCode::termination_notice);
    pass(1h);
    CHECK(heard.size() == 2);
}

TEST_CASE_FIXTURE(Noticed, "a hook is told of a task that could not be stopped") {
    launcher.prepare = [](FakeProcess& process) { process.unkillable = true; };
    listen({.hook = "group/hook", .on_failure = "ABANDON"});
    start("web");
    notice("TerminationNotice");
    pass(5min);
    CHECK(completed_with("ABANDON"));
}

TEST_CASE_FIXTURE(Noticed, "without a task a hook is completed at once") {
    listen({.hook = "group/hook"});
    notice("TerminationNotice");
    pass(1ms);
    CHECK(completed_with("CONTINUE"));
}

TEST_CASE_FIXTURE(Noticed, "a hook that can't be completed now is tried again") {
    int refusals = 3;
    const auto usual = stage.hears;
    stage.hears = [&](int life, const std::string& line) {
        if (line.find("\"complete\"") == line.npos || refusals-- <= 0) return usual(life, line);
        heard.push_back(line);
        const auto id = line.substr(6, line.find(',') - 6);
        stage.say("{\"id\":" + id + ",\"error\":\"cannot reach it\",\"retry\":true}\n");
    };
    listen({.hook = "group/hook"});
    notice("TerminationNotice");
    pass(10s);
    CHECK(heard.size() == 5);
    CHECK(completed_with("CONTINUE"));
    CHECK(log.said("Lifecycle hook is completed"));
}

TEST_CASE_FIXTURE(Noticed,
                  "both notices in one breath are both heeded, the nearer deadline counts") {
    launcher.prepare = [](FakeProcess&) {};
    listen({.spot = true, .hook = "group/hook"});
    start("web");
    const auto begun = sim.clock.now();
    notice("TerminationNotice");
    notice("SpotInterruption", 20s);
    sim.run(supervisor.stopped("web"));
    CHECK(sim.clock.now() - begun == 19s);
    pass(1s);
    CHECK(completed_with("CONTINUE"));
}

TEST_CASE_FIXTURE(Noticed, "one that can't watch is asked again, and each time is said") {
    stage.hears = [this](int, const std::string& line) {
        heard.push_back(line);
        const auto id = line.substr(6, line.find(',') - 6);
        stage.say("{\"id\":" + id + ",\"error\":\"cannot reach the metadata\",\"retry\":true}\n");
    };
    listen({.spot = true});
    pass(35s);
    CHECK(heard.size() == 4);
    CHECK(log.said("Notices of this machine's end can't be heard error=cannot reach the metadata"));
}

TEST_CASE_FIXTURE(Noticed, "at the agent's end a hook that is due is completed first") {
    listen({.hook = "group/hook"});
    start("web");
    notice("TerminationNotice");
    pass(1ms);
    sim.run([](Supervisor& all) -> awaitable<void> { co_await all.shut_down({}); }(supervisor));
    sim.run(notices->finish());
    CHECK(completed_with("CONTINUE"));
    CHECK_FALSE(stage.there);
}
