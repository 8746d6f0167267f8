#include "agent/lb/helper.hpp"

#include <doctest/doctest.h>

#include <csignal>

#include "tests/unit/fake_program.hpp"
#include "tests/unit/heard_log.hpp"
#include "tests/unit/sim.hpp"

using namespace lastcall;
using namespace lastcall::helper;
using namespace std::chrono_literals;

namespace {

const std::string greeting =
    R"({"helper":"agent-lb-x","version":"1","protocol":1,"abilities":["register","cancel"]})"
    "\n";

struct World {
    Sim sim;
    HeardLog log;
    Stage stage;
    std::vector<std::string> heard;  ///< "1: {…}": in which life, and what
    Helper helper{{.executor = sim.executor(),
                   .clock = sim.clock,
                   .log = log,
                   .start = starter(sim.executor(), sim.clock, stage)},
                  {"/usr/libexec/agent-lb-x"}};

    World() {
        stage.begins = [this](int) { stage.say(greeting); };
        stage.hears = [this](int life, const std::string& line) {
            heard.push_back(std::to_string(life) + ": " + line);
        };
        stage.dismissed = [this](int) { stage.die("it exited with code 0"); };
    }
    ~World() { sim.run(helper.close()); }

    std::shared_ptr<Asked> ask(Verb verb) { return helper.ask({.verb = verb, .url = "x:y"}); }
    /// It is acknowledged, or over; within the virtual hour.
    void until(const std::function<bool()>& over) {
        const auto limit = sim.clock.now() + 1h;
        sim.at((limit).time_since_epoch(), [] {});
        REQUIRE(sim.run_until([&] { return over() || sim.clock.now() >= limit; }));
        REQUIRE(over());
    }
    void answer(const std::string& line) { stage.say(line + "\n"); }
    std::string error_of(const std::shared_ptr<Asked>& asked) {
        until([&] { return asked->end.has_value(); });
        return asked->end->error + (asked->end->retry ? " (again)" : "");
    }
    bool logged(const std::string& part) const {
        for (const auto& line : log.lines) {
            if (line.find(part) != std::string::npos) return true;
        }
        return false;
    }
};

}  // namespace

TEST_CASE_FIXTURE(World, "a helper is started by the first request, and none before") {
    CHECK(stage.lives == 0);
    const auto asked = ask(Verb::check);
    until([&] { return !heard.empty(); });
    CHECK(heard.front() == R"(1: {"id":1,"do":"check","url":"x:y"})");
    CHECK_FALSE(asked->end);
    answer(R"({"id":1,"state":"known","port":80})");
    until([&] { return asked->end.has_value(); });
    CHECK(asked->end->manners.port == 80);
    ask(Verb::register_target);
    until([&] { return heard.size() == 2; });
    CHECK(stage.lives == 1);
}

TEST_CASE_FIXTURE(World, "reports stream, and the last one ends it") {
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    answer(R"({"id":1,"note":"throttled"})");
    until([&] { return !asked->note.empty(); });
    CHECK_FALSE(asked->is_acknowledged());
    answer(R"({"id":1,"state":"draining","connections":3})");
    until([&] { return asked->is_acknowledged(); });
    CHECK(asked->state->connections == 3);
    answer(R"({"id":1,"state":"drained"})");
    until([&] { return asked->end.has_value(); });
    CHECK(asked->state->state == State::drained);
}

TEST_CASE_FIXTURE(World, "one that isn't there refuses at once, and no retry would mend that") {
    stage.refused_starts = 100;
    CHECK(error_of(ask(Verb::deregister)) ==
          "cannot ask agent-lb-x: cannot start 'agent-lb-x': No such file or directory");
}

TEST_CASE_FIXTURE(World, "one that speaks another protocol, or none, refuses at once") {
    stage.begins = [this](int) { stage.say("Welcome!\n"); };
    CHECK(error_of(ask(Verb::deregister)) ==
          "cannot ask agent-lb-x: it wrote 'Welcome!', expected a line of JSON");
    stage.begins = [this](int) {
        stage.say("{\"helper\":\"x\",\"protocol\":9,\"abilities\":[]}\n");
    };
    CHECK(error_of(ask(Verb::check)) == "cannot ask agent-lb-x: it speaks protocol 9, expected 1");
}

TEST_CASE_FIXTURE(World, "one that greets too late is killed") {
    stage.begins = {};
    const auto begun = sim.clock.now();
    CHECK(error_of(ask(Verb::check)) == "cannot ask agent-lb-x: it has not greeted within 5 s");
    CHECK(sim.clock.now() - begun == 5s);
    CHECK_FALSE(stage.there);
}

TEST_CASE_FIXTURE(
    World, "one that dies is started again, and what wasn't acknowledged may be asked again") {
    const auto first = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    stage.die("it was killed by SIGSEGV");
    CHECK(error_of(first) == "cannot ask agent-lb-x: it was killed by SIGSEGV (again)");
    CHECK(
        logged("Load balancer helper has ended helper=agent-lb-x error=it was killed by SIGSEGV"));
    ask(Verb::deregister);
    until([&] { return heard.size() == 2; });
    CHECK(heard.back().starts_with("2: {\"id\":2,"));
}

TEST_CASE_FIXTURE(World,
                  "what was acknowledged is asked of the next one by itself, under a new id") {
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    answer(R"({"id":1,"state":"draining"})");
    until([&] { return asked->is_acknowledged(); });
    stage.die("it exited with code 1");
    until([&] { return heard.size() == 2; });
    CHECK(heard.back() == R"(2: {"id":2,"do":"deregister","url":"x:y"})");
    CHECK(asked->trouble == "cannot hear agent-lb-x: it exited with code 1");
    answer(R"({"id":2,"state":"draining"})");
    until([&] { return asked->trouble.empty(); });
    CHECK_FALSE(asked->end);
}

TEST_CASE_FIXTURE(World, "one that dies again and again is started ever more seldom") {
    stage.begins = [this](int) { stage.die("it exited with code 1"); };
    while (stage.starts.size() < 9) error_of(ask(Verb::deregister));
    std::vector<std::int64_t> pauses;
    for (std::size_t i = 1; i < stage.starts.size(); ++i) {
        pauses.push_back((stage.starts[i] - stage.starts[i - 1]) / 1ms);
    }
    CHECK(pauses == std::vector<std::int64_t>{0, 100, 200, 400, 800, 1600, 3200, 5000});
    stage.begins = [this](int) { stage.say(greeting); };
    const auto asked = ask(Verb::watch);
    const auto lives = stage.lives;
    until([&] { return stage.lives > lives; });
    sim.at((sim.clock.now() + 61s).time_since_epoch(), [this] { stage.die("it left"); });
    error_of(asked);
    const auto left = sim.clock.now();
    ask(Verb::check);
    until([&] { return stage.lives == lives + 2; });
    CHECK(sim.clock.now() - left <= 100ms);  // a long life makes good
}

TEST_CASE_FIXTURE(World, "one that is silent for ten seconds of a request is taken for hung") {
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    const auto begun = sim.clock.now();
    sim.at((begun + 7s).time_since_epoch(), [this] { answer(R"({"id":1,"note":"well"})"); });
    CHECK(error_of(asked) ==
          "cannot ask agent-lb-x: it is silent: nothing for 10 s of a request under way (again)");
    CHECK(sim.clock.now() - begun == 17s);
}

TEST_CASE_FIXTURE(World, "one that is asked nothing may be silent as long as it likes") {
    const auto asked = ask(Verb::check);
    until([&] { return !heard.empty(); });
    answer(R"({"id":1,"state":"known"})");
    until([&] { return asked->end.has_value(); });
    sim.at((sim.clock.now() + 30min).time_since_epoch(), [] {});
    sim.run_until([&] { return sim.clock.now() > Clock::time_point(30min); });
    CHECK(stage.lives == 1);
    CHECK(stage.there);
}

TEST_CASE_FIXTURE(World, "rubbish ends a life, whatever it is") {
    for (const auto* rubbish : {"rubbish", "{\"id\":", "[]]", "{\"id\":1,\"state\":\"registered\"}",
                                "{\"id\":1,\"state\":\"cancelled\"}"}) {
        INFO(rubbish);
        const auto asked = ask(Verb::deregister);
        const auto lives = stage.lives;
        until([&] { return asked->request.id != 0; });
        std::string line = rubbish;
        if (const auto id = line.find("\"id\":1,"); id != line.npos) {
            line.replace(id, 7, "\"id\":" + std::to_string(asked->request.id) + ",");
        }
        answer(line);
        const auto error = error_of(asked);
        CHECK(error.starts_with("cannot ask agent-lb-x: it "));
        CHECK(error.ends_with("(again)"));
        CHECK(stage.lives >= lives);
        CHECK_FALSE(stage.there);
    }
}

TEST_CASE_FIXTURE(World, "a flood ends a life, a crowd doesn't") {
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    std::string crowd;
    for (int i = 0; i < 15'000; ++i) crowd += "{\"id\":1,\"state\":\"draining\"}\n";
    stage.say(crowd);
    until([&] { return asked->is_acknowledged(); });
    CHECK(stage.lives == 1);
    stage.say(crowd);
    until([&] { return stage.lives == 2; });
    CHECK(asked->trouble == "cannot hear agent-lb-x: it writes more than 20000 lines a second");
}

TEST_CASE_FIXTURE(World, "an answer that nobody asked for is said once, and passed over") {
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    answer(R"({"id":99,"state":"drained"})");
    answer(R"({"id":98,"state":"drained"})");
    answer(R"({"id":1,"state":"drained"})");
    until([&] { return asked->end.has_value(); });
    CHECK(asked->end->error.empty());
    CHECK(logged("it answers 99, which isn't asked"));
    CHECK_FALSE(logged("98"));
}

TEST_CASE_FIXTURE(World, "who is cancelled is told to the helper, and isn't waited for") {
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    answer(R"({"id":1,"state":"draining"})");
    until([&] { return asked->is_acknowledged(); });
    helper.cancel(asked);
    until([&] { return heard.size() == 2; });
    CHECK(heard.back() == R"(1: {"id":1,"do":"cancel"})");
    sim.at((sim.clock.now() + 1min).time_since_epoch(), [] {});
    sim.run_until([&] { return sim.clock.now() >= Clock::time_point(1min); });
    CHECK(stage.lives == 1);  // its silence is no hang
    answer(R"({"id":1,"state":"cancelled"})");
    const auto other = ask(Verb::check);
    until([&] { return heard.size() == 3; });
    stage.die("it left");
    error_of(other);
    ask(Verb::check);
    until([&] { return heard.size() == 4; });
    CHECK(heard.back().find("check") != std::string::npos);  // and not what was cancelled
}

TEST_CASE_FIXTURE(World, "what can't register isn't asked to") {
    stage.begins = [this](int) {
        stage.say("{\"helper\":\"x\",\"protocol\":1,\"abilities\":[]}\n");
    };
    CHECK(error_of(ask(Verb::register_target)) == "cannot register with agent-lb-x: it can't");
    CHECK(heard.empty());
}

TEST_CASE_FIXTURE(World,
                  "what is asked in one moment goes in one line to a helper that takes batches") {
    stage.begins = [this](int) {
        stage.say("{\"helper\":\"x\",\"protocol\":1,\"abilities\":[\"batch\"]}\n");
    };
    std::vector<std::shared_ptr<Asked>> all;
    for (int i = 0; i < 1000; ++i) all.push_back(ask(Verb::deregister));
    until([&] { return all.back()->request.id != 0; });
    CHECK(heard.size() == 1);
}

TEST_CASE_FIXTURE(World, "its stderr is in the log, as far as that is bearable") {
    ask(Verb::check);
    until([&] { return !heard.empty(); });
    std::string text;
    for (int i = 0; i < 500; ++i) text += "line " + std::to_string(i) + "\n";
    stage.complain("oh\x1b[1m");
    stage.complain(" dear\n" + text);
    sim.at((sim.clock.now() + 2s).time_since_epoch(), [this] { stage.complain("late\n"); });
    until([&] { return logged("late"); });
    CHECK(logged("info: oh [1m dear helper=agent-lb-x"));
    CHECK(logged("line 90 "));
    CHECK_FALSE(logged("line 200 "));
    CHECK(logged("Lines of a load balancer helper were left out helper=agent-lb-x lines=401"));
}

TEST_CASE_FIXTURE(World, "one that is dismissed may finish what is under way, for two seconds") {
    stage.dismissed = [this](int) {
        sim.at((sim.clock.now() + 1500ms).time_since_epoch(), [this] {
            answer(R"({"id":1,"state":"drained"})");
            stage.die("it exited with code 0");
        });
    };
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    const auto begun = sim.clock.now();
    sim.run(helper.close());
    CHECK(sim.clock.now() - begun == 1500ms);
    CHECK(asked->end->error.empty());
    CHECK(stage.signals.empty());
}

TEST_CASE_FIXTURE(World, "one that won't leave is killed, soon if nothing is under way") {
    stage.dismissed = {};
    const auto asked = ask(Verb::deregister);
    until([&] { return !heard.empty(); });
    answer(R"({"id":1,"state":"draining"})");
    until([&] { return asked->is_acknowledged(); });
    const auto begun = sim.clock.now();
    sim.run(helper.close());
    CHECK(sim.clock.now() - begun == 200ms);
    CHECK(stage.signals == std::vector<int>{SIGTERM});
    CHECK_FALSE(stage.there);
    CHECK(helper.ask({.verb = Verb::check})->end->error == "cannot ask agent-lb-x: the agent ends");
}
