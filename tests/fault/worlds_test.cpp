#include <doctest/doctest.h>
#include <fmt/format.h>

#include <csignal>

#include "tests/fault/machine.hpp"

// The agent dies at its n-th record, for every n of every stop story: with the record kept (what it
// announces was not done) and with it lost (what it tells was done); and in between, while nothing
// is recorded. Another agent starts, at once
// or later, from what was recorded. The end must be the same, and nothing may come early, or twice
// where twice harms.
namespace lastcall::fault {
namespace {

struct Story {
    std::string name;
    std::function<void(Machine&)> machine = [](Machine&) {};
    std::function<void(TaskDefinition&)> task = [](TaskDefinition&) {};
    std::function<void(Tree&, const std::string&)> tree = [](Tree&, const std::string&) {};
    StopRequest request = {};
    std::optional<std::pair<Clock::duration, StopRequest>> joins;  ///< from the request on
    bool exits_by_itself = false;                                  ///< nobody asks for a stop
    bool behind_load_balancer = true;
    Clock::duration settle{};
    Clock::duration jitter{};  ///< of when a failure is final: retries have random pauses
};

constexpr Clock::duration asked_at = 5s;

/// What came of it, as far as it must not depend on how many agents it took.
struct End {
    std::string outcome;
    std::vector<std::string> phases;
    std::optional<Clock::duration> sigterm, sigkill, deregistered;
    Clock::duration over{};
    std::size_t records = 0;
};

std::optional<Clock::duration> first(const Machine& machine, int signal) {
    std::optional<Clock::duration> earliest;
    for (const auto& [name, tree] : machine.trees) {
        for (const auto* signals : {&tree->main_signals, &tree->tree_signals}) {
            for (const auto& [when, number] : *signals) {
                if (number == signal) earliest = std::min(earliest.value_or(when), when);
            }
        }
    }
    return earliest;
}

TaskDefinition definition(const Story& story) {
    TaskDefinition task{.name = "web", .containers = {{.name = "web", .command = {"server"}}}};
    story.task(task);
    return task;
}

class World {
 public:
    explicit World(const Story& story) : story_(story) {
        machine_.behaviour = [this](Tree& tree, const std::string& container) {
            tree.exits_on = {{SIGTERM, 1s}};
            story_.tree(tree, container);
        };
        machine_.visits = {{.to = asked_at + 20s}, {.to = asked_at + 20s}};
        story_.machine(machine_);
    }

    /// The first agent dies at this moment too.
    void dies_at(Clock::duration moment) { moment_ = moment; }
    /// Lives until STOPPED; each agent dies at one of `deaths` (its n-th record), the last one
    /// doesn't. Between two of them `away` passes.
    void run(const std::vector<std::size_t>& deaths, bool keeps_last, Clock::duration away) {
        for (std::size_t generation = 0;; ++generation) {
            const bool dies = generation < deaths.size();
            machine_.records = 0;
            machine_.dies_at = dies ? deaths[generation] : 0;
            machine_.keeps_last = keeps_last;
            machine_.agent_is_dead = false;
            if (live(generation)) return;
            if (!machine_.agent_is_dead) return;  // it hangs: the checks will say so
            died_at_.push_back(machine_.now);
            if (signalled_unnoted()) ++unnoted_;
            if (!drain_is_recorded()) ++before_drain_;
            if (launched_unnoted()) ++unnoted_hooks_;
            machine_.now += away;
        }
    }

    End end() const {
        End end{.sigterm = first(machine_, SIGTERM),
                .sigkill = first(machine_, SIGKILL),
                .deregistered = machine_.balancer.deregistered,
                .over = machine_.now,
                .records = machine_.records};
        const auto* const stop = record();
        if (!stop || !stop->outcome) return end;
        end.outcome = to_string(*stop->outcome);
        for (const auto& phase : stop->phases) {
            end.phases.push_back(
                fmt::format("{} {} {}", to_string(phase.phase), phase.container,
                            phase.outcome ? to_string(*phase.outcome) : "under way"));
        }
        std::sort(end.phases.begin(), end.phases.end());  // side by side they begin in any order
        return end;
    }

    const StopRecord* record() const {
        const bool there = !machine_.stops.empty();
        return there ? &machine_.stops.back() : nullptr;
    }
    const Machine& machine() const { return machine_; }
    const std::vector<Clock::duration>& deaths() const { return died_at_; }
    const std::vector<std::string>& said() const { return said_; }
    /// So many agents died between a stop signal and the note of it, and before DRAIN was recorded.
    int unnoted() const { return unnoted_; }
    int before_drain() const { return before_drain_; }
    int unnoted_hooks() const { return unnoted_hooks_; }

 private:
    /// One agent's life. True when the task is STOPPED (or unkillable) and recorded.
    bool live(std::size_t generation) {
        Agent agent(machine_, fmt::format("g{}-", generation));
        if (generation == 0 && moment_) {
            agent.sim.at(*moment_, [this] { machine_.agent_is_dead = true; });
        }
        const bool ended = live(agent);
        for (auto& line : agent.log.lines) said_.push_back(std::move(line));
        return ended;
    }

    bool live(Agent& agent) {
        agent.behind_load_balancer = story_.behind_load_balancer;
        agent.settle = story_.settle;
        agent.start();
        bool adopted = false;
        agent.sim.spawn(adopt(agent, adopted));
        if (!agent.run_until([&] { return adopted; })) return false;
        if (has_ended()) return true;
        if (nothing_runs(agent)) {  // who asked for it got no answer, and asks again
            bool started = false;
            agent.sim.spawn(begin(agent, started));
            if (!agent.run_until([&] { return started; })) return false;
        }
        agent.sim.spawn(ask(agent));
        return agent.run_until([&] { return has_ended(); });
    }

    static awaitable<void> adopt(Agent& agent, bool& adopted) {
        co_await agent.supervisor->adopt();
        adopted = true;
    }
    awaitable<void> begin(Agent& agent, bool& started) {
        co_await agent.supervisor->start(definition(story_));
        started = true;
    }
    /// Somebody asks for the stop; again, if the agent died before it had written that down.
    awaitable<void> ask(Agent& agent) {
        auto& supervisor = *agent.supervisor;
        if (story_.exits_by_itself) co_return;
        co_await agent.sim.clock.sleep_until(Clock::time_point(asked_at));
        const auto view = supervisor.view("web");
        if (view.state.desired_status != TaskStatus::stopped) {
            supervisor.request_stop("web", story_.request);
        }
        if (!story_.joins) co_return;
        const auto& [later, request] = *story_.joins;
        co_await agent.sim.clock.sleep_until(Clock::time_point(asked_at + later));
        supervisor.request_stop("web", request);
    }

    static bool nothing_runs(Agent& agent) {
        const auto views = agent.supervisor->views();
        return views.empty() || views.front().state.stop_code == StopCode::task_failed_to_start;
    }

    bool signalled_unnoted() const {
        const auto* const stop = record();
        if (!stop || !first(machine_, story_.request.signal.value_or(SIGTERM))) return false;
        return std::any_of(stop->phases.begin(), stop->phases.end(), [](const auto& phase) {
            return phase.phase == Phase::sigterm && !phase.detail.find("sentAfterMs");
        });
    }
    bool launched_unnoted() const {
        const auto* const stop = record();
        return stop && std::any_of(stop->phases.begin(), stop->phases.end(), [](const auto& phase) {
                   return phase.phase == Phase::pre_stop && !phase.detail.find("pid");
               });
    }
    bool drain_is_recorded() const {
        const auto* const stop = record();
        return stop && std::any_of(stop->phases.begin(), stop->phases.end(),
                                   [](const auto& phase) { return phase.phase == Phase::drain; });
    }

    bool has_ended() const {
        const auto* const stop = record();
        if (!stop || !stop->outcome) return false;
        return stop->outcome == StopOutcome::unkillable ||
               std::all_of(machine_.tasks.begin(), machine_.tasks.end(), [](const auto& task) {
                   return task.last_status == TaskStatus::stopped;
               });
    }

    const Story& story_;
    Machine machine_;
    std::optional<Clock::duration> moment_;
    std::vector<Clock::duration> died_at_;
    std::vector<std::string> said_;
    int unnoted_ = 0, before_drain_ = 0, unnoted_hooks_ = 0;
};

std::vector<Story> stories() {
    const Requester somebody{.uid = 7, .pid = 8, .via = "api"};
    return {
        {.name = "a polite task"},
        {.name = "no load balancer", .behind_load_balancer = false},
        {.name = "a cgroup to be removed",
         .tree = [](Tree& tree, const std::string&) { tree.cgroup = "/lastcall/web"; }},
        {.name = "a stubborn task",
         .tree = [](Tree& tree, const std::string&) { tree.exits_on.clear(); }},
        {.name = "children that leave on the signal",
         .tree =
             [](Tree& tree, const std::string&) {
                 tree.has_children = true;
                 tree.children_leave_on = {{SIGTERM, 4s}};
             }},
        {.name = "children that don't",
         .tree = [](Tree& tree, const std::string&) { tree.has_children = true; }},
        {.name = "what SIGKILL can't end",
         .tree =
             [](Tree& tree, const std::string&) {
                 tree.exits_on.clear();
                 tree.unkillable = true;
             }},
        {.name = "a load balancer that knows nothing",
         .machine =
             [](Machine& machine) {
                 machine.balancer.knows = false;
                 machine.balancer.unused_after.reset();
             },
         .settle = 3s},
        {.name = "connections that never end",
         .machine =
             [](Machine& machine) {
                 machine.balancer.knows = false;
                 machine.balancer.unused_after.reset();
                 machine.visits = {{}};
             },
         .task = [](TaskDefinition& task) { task.stop.deregistration_delay = 60s; }},
        {.name = "a load balancer that refuses",
         .machine = [](Machine& machine) { machine.balancer.refuses = true; }},
        {.name = "a load balancer that is silent",
         .machine = [](Machine& machine) { machine.balancer.silent = true; },
         .jitter = 5s},
        {.name = "a hook before the signal",
         .task = [](TaskDefinition& task) { task.stop.pre_stop = "sync"; },
         .tree =
             [](Tree& tree, const std::string& container) {
                 if (container == "pre-stop") tree.exits_on = {{0, 2s}};
             }},
        {.name = "a hook that hangs",
         .task = [](TaskDefinition& task) { task.stop.pre_stop = "sleep"; },
         .tree =
             [](Tree& tree, const std::string& container) {
                 if (container == "pre-stop") tree.exits_on.clear();
             }},
        {.name = "a drain signal",
         .task = [](TaskDefinition& task) { task.stop.drain_signal = SIGUSR1; }},
        {.name = "an outer deadline",
         .tree = [](Tree& tree, const std::string&) { tree.exits_on.clear(); },
         .request = {.deadline = 21s}},
        {.name = "a longer stop timeout than configured, and another signal",
         .tree = [](Tree& tree, const std::string&) { tree.exits_on = {{SIGQUIT, 50s}}; },
         .request = {.stop_timeout = 70s, .signal = SIGQUIT}},
        {.name = "no drain wanted", .request = {.drain = false}},
        {.name = "somebody ends the drain", .joins = {{7s, {.by = somebody, .drain = false}}}},
        {.name = "somebody shortens the stop timeout",
         .tree = [](Tree& tree, const std::string&) { tree.exits_on.clear(); },
         .joins = {{25s, {.by = somebody, .stop_timeout = 2s}}}},
        {.name = "somebody wants it killed",
         .tree = [](Tree& tree, const std::string&) { tree.exits_on.clear(); },
         .joins = {{25s, {.by = somebody, .force = true}}}},
        {.name = "force from the first", .request = {.force = true}},
        {.name = "it exits while it drains",
         .tree = [](Tree& tree, const std::string&) { tree.exit_at(asked_at + 8s, {.code = 3}); }},
        {.name = "it exits by itself",
         .tree = [](Tree& tree, const std::string&) { tree.exit_at(asked_at, {.code = 3}); },
         .exits_by_itself = true},
        {.name = "two containers, one after the other",
         .task =
             [](TaskDefinition& task) {
                 task.containers.push_back(
                     {.name = "db", .command = {"db"}, .stop_timeout = Clock::duration(5s)});
                 task.containers.front().depends_on = {"db"};
             },
         .tree =
             [](Tree& tree, const std::string& container) {
                 if (container == "db") tree.exits_on.clear();
             }},
    };
}

/// How often a main process heard `signal`, at most.
std::ptrdiff_t heard(const World& world, int signal) {
    std::ptrdiff_t most = 0;
    for (const auto& [name, tree] : world.machine().trees) {
        if (name.ends_with("pre-stop")) continue;
        const auto count =
            std::count_if(tree->main_signals.begin(), tree->main_signals.end(),
                          [signal](const auto& each) { return each.second == signal; });
        most = std::max(most, count);
    }
    return most;
}

struct Tally {
    std::size_t worlds = 0, repeats = 0;
};

void live_through(const Story& story, const End& planned, const std::vector<std::size_t>& deaths,
                  bool keeps_last, Clock::duration away, Tally& tally,
                  std::optional<Clock::duration> moment = {}) {
    World world(story);
    if (moment) world.dies_at(*moment);
    world.run(deaths, keeps_last, away);
    ++tally.worlds;
    const End end = world.end();
    const Machine& machine = world.machine();
    std::string world_name = fmt::format("{}: dies at record", story.name);
    for (const auto death : deaths) world_name += fmt::format(" {}", death);
    if (moment) world_name = fmt::format("{}: dies at {} s", story.name, *moment / 1s);
    world_name += fmt::format(" ({}), away {} s", keeps_last ? "kept" : "lost", away / 1s);
    INFO(world_name);

    // One copy, the same end, a complete record.
    const auto copies = std::count(machine.launches.begin(), machine.launches.end(), "web");
    CHECK(copies >= 1);
    CHECK_FALSE(machine.second_copy);
    if (away == 0s) CHECK(copies == 1);
    const auto hooks = std::count(machine.launches.begin(), machine.launches.end(), "pre-stop");
    CHECK(hooks <= 1 + world.unnoted_hooks());
    REQUIRE(world.record());
    REQUIRE(world.record()->outcome);
    for (const auto& phase : world.record()->phases) CHECK(phase.outcome.has_value());
    for (const auto& [name, tree] : machine.trees) {
        if (!tree->unkillable) CHECK_FALSE_MESSAGE(tree->anybody_is_there(machine.now), name);
    }
    if (away == 0s) CHECK(end.outcome == planned.outcome);

    // Nothing early; nothing late but for the time without an agent.
    const auto& died = world.deaths();
    const Clock::duration asked_again = std::max(asked_at, died.empty() ? 0s : died.back() + away);
    const auto late = away * static_cast<int>(died.size()) + story.settle + story.jitter + 1s +
                      world.unnoted_hooks() * 2s;
    if (planned.sigterm && end.sigterm) {
        CHECK(*end.sigterm >= *planned.sigterm - story.jitter);
        CHECK(*end.sigterm <= std::max(*planned.sigterm, asked_again) + late);
    }
    if (planned.sigkill && end.sigkill) {
        CHECK(*end.sigkill >= *planned.sigkill - story.jitter);
        if (away == 0s) CHECK(*end.sigkill <= *planned.sigkill + story.settle);
    }
    if (!planned.sigkill && away == 0s) CHECK_FALSE(end.sigkill);
    if (away == 0s && end.deregistered) CHECK(end.deregistered == planned.deregistered);
    if (machine.balancer.deregistered) {
        for (const auto registered : machine.balancer.registered) {
            CHECK(registered <= *machine.balancer.deregistered);
        }
    }

    // Once; again only for an agent that died between the signal and the note of it.
    const auto signals = heard(world, story.request.signal.value_or(SIGTERM));
    CHECK(signals <= 1 + world.unnoted());
    CHECK(heard(world, SIGUSR1) <= 1 + world.before_drain());
    if (signals > 1) ++tally.repeats;
    for (const auto& line : world.said()) {
        CHECK_FALSE_MESSAGE(line.starts_with("crit"), line);
    }
}

}  // namespace

TEST_CASE("the agent dies at any record of any stop, and another goes on") {
    Tally tally;
    for (const auto& story : stories()) {
        World undisturbed(story);
        undisturbed.run({}, true, 0s);
        const End planned = undisturbed.end();
        INFO(story.name);
        REQUIRE_FALSE(planned.outcome.empty());
        REQUIRE(planned.records >= 4);
        for (auto moment = asked_at + 1s; moment < planned.over; moment += 2500ms) {
            for (const Clock::duration away : {0s, 7s, 400s}) {
                live_through(story, planned, {}, true, away, tally, moment);
            }
        }
        for (std::size_t record = 1; record <= planned.records; ++record) {
            for (const bool kept : {true, false}) {
                for (const Clock::duration away : {0s, 7s, 400s}) {
                    live_through(story, planned, {record}, kept, away, tally);
                }
                // And again, early in the second life, and in the third.
                for (const std::size_t second : {1, 2, 3, 5}) {
                    live_through(story, planned, {record, second}, kept, 0s, tally);
                    live_through(story, planned, {record, second, 2}, kept, 0s, tally);
                }
            }
        }
    }
    MESSAGE(
        fmt::format("{} worlds; the stop signal came twice in {}", tally.worlds, tally.repeats));
    CHECK(tally.worlds > 1000);
}

}  // namespace lastcall::fault
