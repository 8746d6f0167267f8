#include <doctest/doctest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <csignal>
#include <stdexcept>

#include "agent/log.hpp"
#include "heard_log.hpp"

namespace lastcall {
namespace {

using Lines = std::vector<std::string>;

/// A journal in memory with a log, and a stop that goes on step by step.
struct Telling {
    HeardLog log;
    std::unique_ptr<Journal> memory = memory_journal();
    std::unique_ptr<Journal> journal = logged(*memory, log);
    asio::io_context io;
    StopRecord stop;

    Telling() {
        stop.id = "1";
        stop.task = "web";
        stop.stopped_reason = "Task stopped by user";
        stop.requested_by = {0, 7, "api"};
        record({});
    }
    void record(std::optional<std::size_t> phase) {
        auto work = journal->record(stop, phase);
        auto result = asio::co_spawn(io, std::move(work), asio::use_future);
        io.restart();
        io.run();
        result.get();
    }
    void phase(Phase phase, Outcome outcome, const std::string& container = "") {
        stop.phases.push_back({});
        stop.phases.back().phase = phase;
        stop.phases.back().container = container;
        record(stop.phases.size() - 1);
        stop.phases.back().outcome = outcome;
        stop.phases.back().duration = 1830'400us;
        stop.phases.back().detail.set("connectionsAtEnd", std::int64_t{0});
        record(stop.phases.size() - 1);
    }
    void end(StopOutcome outcome) {
        stop.outcome = outcome;
        stop.duration = 2s;
        stop.saved = 298s;
        record({});
    }
    std::vector<StopRecord> recorded() {
        auto work = memory->stops({}, 10);
        auto result = asio::co_spawn(io, std::move(work), asio::use_future);
        io.restart();
        io.run();
        return result.get();
    }
};

const std::string who =
    " task=web stopCode=UserInitiated stoppedReason=Task stopped by user "
    "requestedBy=uid 0, pid 7, via api";

}  // namespace

TEST_CASE_FIXTURE(Telling,
                  "a stop behind a load balancer is told: its request, each phase, its end") {
    phase(Phase::deregister, Outcome::completed);
    phase(Phase::drain, Outcome::completed);
    phase(Phase::sigterm, Outcome::completed, "web1");
    end(StopOutcome::graceful);
    CHECK(log.lines ==
          Lines{"info: Stopping task" + who,
                "info: Phase ended task=web phase=DEREGISTER outcome=completed durationMs=1830.400 "
                "connectionsAtEnd=0",
                "info: Phase ended task=web phase=DRAIN outcome=completed durationMs=1830.400 "
                "connectionsAtEnd=0",
                "info: Phase ended task=web container=web1 phase=SIGTERM outcome=completed "
                "durationMs=1830.400 connectionsAtEnd=0",
                "info: Task stopped" + who +
                    " outcome=graceful durationMs=2000.000 "
                    "savedMs=298000.000"});
}

TEST_CASE_FIXTURE(Telling, "a plain init's stop is not worth a line above debug") {
    phase(Phase::sigterm, Outcome::completed, "web");
    phase(Phase::cleanup, Outcome::completed);
    end(StopOutcome::graceful);
    REQUIRE(log.lines.size() == 4);
    for (const auto& line : log.lines) CHECK_MESSAGE(line.starts_with("debug: "), line);
}

TEST_CASE_FIXTURE(Telling, "a task that has exited by itself is not worth one either") {
    end(StopOutcome::exited);
    REQUIRE(log.lines.size() == 2);
    CHECK(log.lines[0].starts_with("debug: Stopping task"));
    CHECK(log.lines[1].starts_with("debug: Task stopped"));
}

TEST_CASE_FIXTURE(Telling, "a kill is a warning, with or without a load balancer") {
    phase(Phase::sigterm, Outcome::timed_out, "web");
    phase(Phase::sigkill, Outcome::completed, "web");
    end(StopOutcome::killed);
    REQUIRE(log.lines.size() == 4);
    CHECK(log.lines[1].starts_with("warn: Phase ended task=web container=web phase=SIGTERM "));
    CHECK(log.lines[2].starts_with("warn: Phase ended task=web container=web phase=SIGKILL "));
    CHECK(log.lines[3].starts_with("warn: Task stopped"));
}

TEST_CASE_FIXTURE(Telling, "a drain that timed out makes the whole stop a warning") {
    phase(Phase::deregister, Outcome::failed);
    phase(Phase::drain, Outcome::timed_out);
    phase(Phase::sigterm, Outcome::completed, "web");
    end(StopOutcome::graceful);
    REQUIRE(log.lines.size() == 5);
    CHECK(log.lines[0].starts_with("info: "));
    CHECK(log.lines[1].starts_with("warn: "));
    CHECK(log.lines[2].starts_with("warn: "));
    CHECK(log.lines[3].starts_with("info: "));
    CHECK(log.lines[4].starts_with("warn: Task stopped"));
}

TEST_CASE_FIXTURE(Telling, "what SIGKILL couldn't end is an error that names the survivors") {
    stop.survivors = {{4711, "mount.nfs", 'D', "rpc_wait"}, {4712, "cp", 'D', ""}};
    phase(Phase::sigkill, Outcome::timed_out, "web");
    end(StopOutcome::unkillable);
    CHECK(log.lines.back().starts_with("error: Cannot stop task task=web"));
    CHECK(log.lines.back().ends_with("survivors=4711 'mount.nfs' D rpc_wait, 4712 'cp' D"));
}

TEST_CASE_FIXTURE(Telling, "who killed a main process is a warning, if it wasn't us") {
    ContainerEnd end{.name = "web1", .exit = ExitStatus{.signal = SIGKILL}};
    SUBCASE("somebody else") {
        end.killed_by = Killer::somebody_else;
        stop.containers.push_back(end);
        this->end(StopOutcome::exited);
        CHECK(log.lines.back().starts_with("warn: Task stopped task=web"));
        CHECK(
            log.lines.back().ends_with(" container=web1 exitSignal=SIGKILL killedBy=SomebodyElse"));
    }
    SUBCASE("the OOM killer, and a shell passed it on") {
        end.exit = ExitStatus{.code = 137, .out_of_memory = true};
        end.killed_by = Killer::oom_killer;
        end.reason = "OutOfMemoryError: …";
        stop.containers.push_back(end);
        this->end(StopOutcome::exited);
        CHECK(log.lines.back().starts_with("warn: "));
        CHECK(log.lines.back().ends_with(
            " container=web1 exitCode=137 killedBy=OomKiller reason=OutOfMemoryError: …"));
    }
    SUBCASE("one of several containers: only that one is named") {
        stop.containers.push_back({.name = "sidecar", .exit = ExitStatus{}});
        end.killed_by = Killer::somebody_else;
        stop.containers.push_back(end);
        stop.containers.push_back({.name = "unknown"});
        this->end(StopOutcome::exited);
        CHECK(log.lines.back().find("sidecar") == std::string::npos);
        CHECK(log.lines.back().find("unknown") == std::string::npos);
        CHECK(log.lines.back().find(" container=web1 ") != std::string::npos);
    }
}

TEST_CASE_FIXTURE(Telling, "how a main process ended otherwise is not worth a warning") {
    ContainerEnd end{.name = "web1", .exit = ExitStatus{.signal = SIGTERM}};
    SUBCASE("by our signal") { end.killed_by = Killer::sigterm; }
    SUBCASE("by somebody's SIGTERM") { end.killed_by = Killer::somebody_else; }
    SUBCASE("by a fault") { end.exit->signal = SIGSEGV; }
    SUBCASE("with a code") { end.exit = ExitStatus{.code = 9}; }
    stop.containers.push_back(end);
    this->end(StopOutcome::exited);
    CHECK(log.lines.back().starts_with("debug: Task stopped"));
    CHECK(log.lines.back().find("exitSignal") == std::string::npos);
    CHECK(log.lines.back().find("exitCode") == std::string::npos);
}

TEST_CASE_FIXTURE(Telling,
                  "a cgroup that can't be removed is a warning, and so is the whole stop") {
    phase(Phase::sigterm, Outcome::completed, "web");
    phase(Phase::cleanup, Outcome::failed, "web");
    end(StopOutcome::graceful);
    CHECK(log.lines[2].starts_with("warn: Phase ended task=web container=web phase=CLEANUP "));
    CHECK(log.lines[3].starts_with("warn: Task stopped"));
}

TEST_CASE_FIXTURE(Telling, "the next stop of a task is told from its beginning") {
    end(StopOutcome::exited);
    end(StopOutcome::exited);
    REQUIRE(log.lines.size() == 4);
    CHECK(log.lines[2].starts_with("debug: Stopping task"));
}

TEST_CASE_FIXTURE(Telling, "a phase with more to say than a line takes says what fits") {
    stop.phases.push_back({});
    for (int i = 0; i < 100; ++i) stop.phases[0].detail.set("key" + std::to_string(i), true);
    stop.phases[0].outcome = Outcome::completed;
    record(0);
    CHECK(log.lines.back().find(" key19=true") != std::string::npos);
    CHECK(log.lines.back().find(" key99=") == std::string::npos);
}

TEST_CASE_FIXTURE(Telling, "what is told is recorded too") {
    phase(Phase::drain, Outcome::interrupted);
    REQUIRE(recorded().size() == 1);
    CHECK(recorded()[0].phases.at(0).outcome == Outcome::interrupted);
}

TEST_CASE("a journal that fails is told, and its error reaches who records") {
    struct Broken : Journal {
        awaitable<void> record(const TaskState&) override { co_return; }
        awaitable<void> record(StopRecord, std::optional<std::size_t>) override {
            throw std::runtime_error("cannot record: disk is full");
            co_return;
        }
        void note(StopRecord, std::optional<std::size_t>) override {}
        void note(const TaskState&) override {}
        awaitable<std::vector<Remnant>> remnants(Clock::utc_time) override {
            co_return std::vector<Remnant>{};
        }
        awaitable<std::vector<StopRecord>> stops(std::optional<std::string>, std::size_t) override {
            co_return std::vector<StopRecord>{};
        }
    } broken;
    Telling telling;
    telling.journal = logged(broken, telling.log);
    telling.stop.outcome = StopOutcome::graceful;
    CHECK_THROWS_WITH(telling.record({}), "cannot record: disk is full");
    CHECK(telling.log.lines.back().starts_with("debug: Task stopped"));
}

TEST_CASE("memory keeps the newest hundred stops, each as it was last recorded") {
    Telling telling;
    for (int i = 0; i < 120; ++i) {
        telling.stop.id = std::to_string(i);
        telling.stop.task = i % 2 ? "odd" : "even";
        telling.record({});
    }
    telling.stop.id = "110";
    telling.stop.task = "even";
    telling.stop.stopped_reason = "changed";
    telling.record({});
    const auto ask = [&telling](std::optional<std::string> task, std::size_t limit) {
        auto work = telling.memory->stops(std::move(task), limit);
        auto result = asio::co_spawn(telling.io, std::move(work), asio::use_future);
        telling.io.restart();
        telling.io.run();
        return result.get();
    };
    CHECK(ask({}, 1000).size() == 100);
    CHECK(ask({}, 3).at(0).id == "119");
    CHECK(ask("even", 1000).size() == 50);
    CHECK(ask("even", 5).at(4).stopped_reason == "changed");
    CHECK(ask("none", 5).empty());
}

}  // namespace lastcall
