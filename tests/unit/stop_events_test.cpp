#include <doctest/doctest.h>

#include <functional>

#include "tests/unit/stopping.hpp"

using namespace lastcall;

namespace {

/// A world in which every phase takes long enough for something to happen in it:
/// DEREGISTER 0-2, DRAIN 2-22, PRE_STOP 22-25, SIGTERM 25-55, SIGKILL 55-65 (it doesn't help).
struct SlowWorld : Stopping {
    SlowWorld() {
        load_balancer->acknowledges_in = 2s;
        settings().pre_stop = "sync";
        settings().deregistration_delay = 60s;
        launcher.prepare = [](FakeProcess& hook) { hook.exit_at(25s, {}); };
        process.exits_on.clear();
        process.unkillable = true;
    }
    void exits_at(Clock::duration time) {
        process.unkillable = false;
        process.exit_at(time, {});
    }
};

const Story undisturbed = {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed",
                           "PRE_STOP 22-25 completed", "SIGTERM 25-55 timed_out",
                           "SIGKILL 55-65 failed",     "unkillable 65"};

const Clock::duration in_deregister = 1s, in_drain = 10s, in_pre_stop = 23s, in_sigterm = 30s,
                      in_sigkill = 60s;

struct Row {
    const char* status;
    Clock::duration at;
    Story story;
};

}  // namespace

TEST_CASE("undisturbed") {
    SlowWorld world;
    CHECK(story(world.run()) == undisturbed);
}

TEST_CASE("stop × every status: the same request again, or a longer one, changes nothing") {
    for (const auto at : {in_deregister, in_drain, in_pre_stop, in_sigterm, in_sigkill}) {
        CAPTURE(seconds(at));
        SlowWorld same, longer, told_to_exit;
        same.join_at(at, {});
        longer.join_at(at, {.stop_timeout = 500s, .drain_timeout = 500s, .deadline = 900s});
        told_to_exit.join_at(at, {.reason = "The agent is shutting down"});
        CHECK(story(same.run()) == undisturbed);
        CHECK(story(longer.run()) == undisturbed);
        CHECK(story(told_to_exit.run()) == undisturbed);
    }
}

TEST_CASE("--no-drain × every status: ends the drain at once, and nothing else") {
    const Row rows[] = {
        {"DEREGISTER",
         in_deregister,
         {"DEREGISTER 0-1 interrupted", "DRAIN 1-1 interrupted", "PRE_STOP 1-11 timed_out",
          "SIGTERM 11-41 timed_out", "SIGKILL 41-51 failed", "unkillable 51"}},
        {"DRAIN",
         in_drain,
         {"DEREGISTER 0-2 completed", "DRAIN 2-10 interrupted", "PRE_STOP 10-20 timed_out",
          "SIGTERM 20-50 timed_out", "SIGKILL 50-60 failed", "unkillable 60"}},
        {"PRE_STOP", in_pre_stop, undisturbed},
        {"SIGTERM", in_sigterm, undisturbed},
        {"SIGKILL", in_sigkill, undisturbed},
    };
    for (const auto& row : rows) {
        CAPTURE(row.status);
        SlowWorld world;
        world.join_at(row.at, {.drain = false});
        const auto record = world.run();
        CHECK(story(record) == row.story);
        for (std::size_t index = 0; index < record.phases.size(); ++index) {
            if (record.phases[index].outcome != Outcome::interrupted) continue;
            CHECK(detail<std::string>(record, index, "requestedBy") == "uid 7, pid 8, via api");
        }
    }
}

TEST_CASE("--drain-timeout 5 × every status") {
    const Row rows[] = {
        {"DEREGISTER",
         in_deregister,
         {"DEREGISTER 0-2 completed", "DRAIN 2-6 interrupted", "PRE_STOP 6-16 timed_out",
          "SIGTERM 16-46 timed_out", "SIGKILL 46-56 failed", "unkillable 56"}},
        {"DRAIN",
         in_drain,
         {"DEREGISTER 0-2 completed", "DRAIN 2-15 interrupted", "PRE_STOP 15-25 completed",
          "SIGTERM 25-55 timed_out", "SIGKILL 55-65 failed", "unkillable 65"}},
        {"PRE_STOP", in_pre_stop, undisturbed},
        {"SIGTERM", in_sigterm, undisturbed},
        {"SIGKILL", in_sigkill, undisturbed},
    };
    for (const auto& row : rows) {
        CAPTURE(row.status);
        SlowWorld world;
        world.join_at(row.at, {.drain_timeout = 5s});
        CHECK(story(world.run()) == row.story);
    }
}

TEST_CASE("--timeout 4 × every status: counts from the signal, or from now if that was sent") {
    const Story before_signal = {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed",
                                 "PRE_STOP 22-25 completed", "SIGTERM 25-29 timed_out",
                                 "SIGKILL 29-39 failed",     "unkillable 39"};
    const Row rows[] = {
        {"DEREGISTER", in_deregister, before_signal},
        {"DRAIN", in_drain, before_signal},
        {"PRE_STOP", in_pre_stop, before_signal},
        {"SIGTERM",
         in_sigterm,
         {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed", "PRE_STOP 22-25 completed",
          "SIGTERM 25-34 interrupted", "SIGKILL 34-44 failed", "unkillable 44"}},
        {"SIGKILL", in_sigkill, undisturbed},
    };
    for (const auto& row : rows) {
        CAPTURE(row.status);
        SlowWorld world;
        world.join_at(row.at, {.stop_timeout = 4s});
        CHECK(story(world.run()) == row.story);
    }
}

TEST_CASE("--force × every status: SIGKILL at once") {
    const Row rows[] = {
        {"DEREGISTER",
         in_deregister,
         {"DEREGISTER 0-1 interrupted", "DRAIN 1-1 skipped", "PRE_STOP 1-1 skipped",
          "SIGTERM 1-1 skipped", "SIGKILL 1-11 failed", "unkillable 11"}},
        {"DRAIN",
         in_drain,
         {"DEREGISTER 0-2 completed", "DRAIN 2-10 interrupted", "PRE_STOP 10-10 skipped",
          "SIGTERM 10-10 skipped", "SIGKILL 10-20 failed", "unkillable 20"}},
        {"PRE_STOP",
         in_pre_stop,
         {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed", "PRE_STOP 22-23 interrupted",
          "SIGTERM 23-23 skipped", "SIGKILL 23-33 failed", "unkillable 33"}},
        {"SIGTERM",
         in_sigterm,
         {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed", "PRE_STOP 22-25 completed",
          "SIGTERM 25-30 interrupted", "SIGKILL 30-40 failed", "unkillable 40"}},
        {"SIGKILL", in_sigkill, undisturbed},
    };
    for (const auto& row : rows) {
        CAPTURE(row.status);
        SlowWorld world;
        world.join_at(row.at, {.force = true});
        CHECK(story(world.run()) == row.story);
    }
}

TEST_CASE("the task exits by itself × every status") {
    const Row rows[] = {
        {"DEREGISTER", in_deregister, {"DEREGISTER 0-2 completed", "exited 2"}},
        {"DRAIN", in_drain, {"DEREGISTER 0-2 completed", "DRAIN 2-10 completed", "exited 10"}},
        {"PRE_STOP",
         in_pre_stop,
         {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed", "PRE_STOP 22-25 completed",
          "exited 25"}},
        {"SIGTERM",
         in_sigterm,
         {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed", "PRE_STOP 22-25 completed",
          "SIGTERM 25-30 completed", "graceful 30"}},
        {"SIGKILL",
         in_sigkill,
         {"DEREGISTER 0-2 completed", "DRAIN 2-22 completed", "PRE_STOP 22-25 completed",
          "SIGTERM 25-55 timed_out", "SIGKILL 55-60 completed", "killed 60"}},
    };
    for (const auto& row : rows) {
        CAPTURE(row.status);
        SlowWorld world;
        // What exits while SIGKILL is tried must not be killable until then.
        if (row.at == in_sigkill) {
            world.process.exit_at(row.at, {.signal = SIGKILL});
        } else {
            world.exits_at(row.at);
        }
        CHECK(story(world.run()) == row.story);
    }
}

TEST_CASE("a stopping task whose load balancer acknowledges too slowly for a gone task") {
    SlowWorld world;
    world.load_balancer->acknowledges_in = 20s;
    world.exits_at(in_deregister);
    CHECK(story(world.run()) ==
          Story{"DEREGISTER 0-3 interrupted", "CLEANUP 3-5 failed", "exited 5"});
}

TEST_CASE("the first request × its limits: it may also ask for longer than configured") {
    SUBCASE("--no-drain: deregistered, not waited for") {
        SlowWorld world;
        world.request.drain = false;
        CHECK(story(world.run()) == Story{"DEREGISTER 0-2 completed", "DRAIN 2-2 skipped",
                                          "PRE_STOP 2-12 timed_out", "SIGTERM 12-42 timed_out",
                                          "SIGKILL 42-52 failed", "unkillable 52"});
    }
    SUBCASE("--timeout longer") {
        SlowWorld world;
        world.request.stop_timeout = 100s;
        CHECK(story(world.run())[3] == "SIGTERM 25-125 timed_out");
    }
    SUBCASE("--drain-timeout longer") {
        SlowWorld world;
        world.load_balancer->unused_after = std::nullopt;
        world.request.drain_timeout = 100s;
        CHECK(story(world.run())[1] == "DRAIN 2-102 timed_out");
    }
    SUBCASE("--force: killed first, deregistered afterwards") {
        SlowWorld world;
        world.request.force = true;
        world.process.unkillable = false;
        CHECK(story(world.run()) == Story{"DEREGISTER 0-0 skipped", "DRAIN 0-0 skipped",
                                          "PRE_STOP 0-0 skipped", "SIGTERM 0-0 skipped",
                                          "SIGKILL 0-0 completed", "CLEANUP 0-2 completed",
                                          "killed 2"});
    }
    SUBCASE("--signal") {
        SlowWorld world;
        world.request.signal = SIGQUIT;
        world.run();
        CHECK(world.process.signals == Sent{{25s, SIGQUIT}});
    }
}

TEST_CASE("a journal that fails, or is slow, costs at most 100 ms in all, and is told of") {
    SlowWorld world;
    SUBCASE("it fails") {
        world.journal.broken = true;
        CHECK(story(world.run()) == undisturbed);
    }
    SUBCASE("it is slow") {
        world.journal.takes = 10min;
        const auto record = world.run();
        CHECK(world.process.signals == Sent{{25s, SIGTERM}});
        CHECK(world.process.tree_signals.front().first == 55s);
        CHECK(record.duration == 65s);
    }
    CHECK(world.log.said("error: Stop goes on without its journal"));
}

TEST_CASE("an exception inside any step: SIGTERM and SIGKILL come at the times planned") {
    SlowWorld world;
    SUBCASE("the load balancer throws what isn't even an exception") {
        world.load_balancer->throws_nonsense = true;
        world.settings().deregister_timeout = 2s;
        const auto record = world.run();
        CHECK(record.phases[0].outcome == Outcome::failed);
        CHECK(detail<std::string>(record, 0, "error") == "an unknown failure");
        CHECK(story(record).back() == "unkillable 65");
    }
    SUBCASE("looking at the connections fails: no evidence, so the load balancer's word decides") {
        world.evidence.throws = true;
        CHECK(story(world.run()) == undisturbed);
        CHECK(world.log.said("No evidence of the task's connections"));
    }
    SUBCASE("signals can't be sent") {
        world.process.unsignallable = true;
        CHECK(story(world.run()) == undisturbed);
        CHECK(world.log.said("Signal could not be sent"));
    }
    SUBCASE("looking at who is left fails: they count as there") {
        world.process.blind_looks = 2;
        CHECK(story(world.run()) == undisturbed);
        CHECK(world.log.said("Processes can't be counted"));
    }
    SUBCASE("the process can't be watched: it counts as there until its tree is seen empty") {
        world.process.unwatchable = true;
        CHECK(story(world.run()) == undisturbed);
    }
}
