#pragma once
#include <algorithm>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/process.hpp"
#include "supervisor/supervisor.hpp"
#include "tests/unit/fakes.hpp"
#include "tests/unit/sim.hpp"

// What is there whether an agent lives or not: processes, a load balancer, the journal's file. An
// agent is a Supervisor with clients of these; when it dies, they are as they were.
namespace lastcall::fault {

/// A process tree of the machine. What happens to it is a function of time and of the signals that
/// it has had.
struct Tree {
    // How it behaves.
    std::map<int, Clock::duration> exits_on;  ///< signal → how long it then takes to exit
    std::map<int, Clock::duration> children_leave_on;
    bool has_children = false;
    bool unkillable = false;
    std::string cgroup;  ///< its own, until somebody removes it
    // What has happened.
    std::vector<std::pair<Clock::duration, int>> main_signals, tree_signals;  ///< but SIGCONT
    std::optional<Clock::duration> exits_at, children_leave_at;
    ExitStatus exits_as;

    bool main_is_there(Clock::duration now) const { return !exits_at || now < *exits_at; }
    bool anybody_is_there(Clock::duration now) const {
        return main_is_there(now) ||
               (has_children && (!children_leave_at || now < *children_leave_at));
    }
    void hear(Clock::duration now, int number, SignalScope scope) {
        const bool to_all = number == SIGKILL || scope == SignalScope::tree;
        (to_all ? tree_signals : main_signals).emplace_back(now, number);
        if (number == SIGKILL) {
            if (unkillable) return;
            if (main_is_there(now)) exit_at(now, {.signal = SIGKILL});
            if (!children_leave_at || now < *children_leave_at) children_leave_at = now;
            return;
        }
        const auto exits = exits_on.find(number);
        if (exits != exits_on.end() && !exits_at) exit_at(now + exits->second, {});
        const auto leave = children_leave_on.find(number);
        if (to_all && leave != children_leave_on.end() && !children_leave_at) {
            children_leave_at = now + leave->second;
        }
    }
    void exit_at(Clock::duration time, ExitStatus as) {
        exits_at = time;
        exits_as = as;
    }
    std::size_t sigterms() const { return count(main_signals) + 0; }
    static std::size_t count(const std::vector<std::pair<Clock::duration, int>>& signals) {
        return static_cast<std::size_t>(
            std::count_if(signals.begin(), signals.end(),
                          [](const auto& each) { return each.second == SIGTERM; }));
    }
};

/// A load balancer of the machine.
struct Balancer {
    bool knows = true;  ///< its own report says when nothing is in flight
    bool refuses = false;
    bool silent = false;
    std::optional<Clock::duration> unused_after = 20s;  ///< from the deregistration

    std::vector<Clock::duration> registered;
    std::optional<Clock::duration> deregistered;  ///< the act; to repeat it changes nothing
};

/// The machine.
struct Machine {
    Clock::duration now{};
    std::map<std::string, std::unique_ptr<Tree>> trees;  ///< by LASTCALL_TASK, in the order of ids
    std::vector<std::string> launches;                   ///< every launch, by the container's name
    bool second_copy = false;                            ///< launched while one was there
    Balancer balancer;
    std::vector<FakeEvidence::Visit> visits;
    // The journal's file.
    std::vector<TaskState> tasks;
    std::vector<StopRecord> stops;
    std::size_t records = 0;
    // The agent's death: at this record, which is the last one to be kept or the first to be lost.
    std::size_t dies_at = 0;  ///< 0: never
    bool keeps_last = false;
    bool agent_is_dead = false;

    std::function<void(Tree&, const std::string& container)> behaviour;

    /// Whether a record is kept; the agent may die of it.
    bool keeps() {
        if (agent_is_dead) return false;
        ++records;
        if (records != dies_at) return true;
        agent_is_dead = true;
        return keeps_last;
    }
    void keep(const TaskState& task) {
        if (!keeps()) return;
        for (auto& each : tasks) {
            if (each.id == task.id) return void(each = task);
        }
        tasks.push_back(task);
    }
    void keep(const StopRecord& stop) {
        if (!keeps()) return;
        for (auto& each : stops) {
            if (each.id == stop.id) return void(each = stop);
        }
        stops.push_back(stop);
    }
};

/// An agent's handle on a tree.
class Handle final : public Process {
 public:
    Handle(Sim& sim, Machine& machine, Tree& tree, bool was_gone)
        : sim_(sim), machine_(machine), tree_(tree), changed_(sim.executor()), unseen_(was_gone) {}
    pid_t id() const override { return 4711; }
    std::uint64_t start_time() const override { return 1; }
    void signal(int number, SignalScope scope) override {
        if (machine_.agent_is_dead || number == SIGCONT) return;
        const bool to_all = number == SIGKILL || scope == SignalScope::tree;
        if (to_all ? !tree_.anybody_is_there(now()) : !tree_.main_is_there(now())) return;
        tree_.hear(now(), number, scope);
        changed_.beat();
    }
    awaitable<ExitStatus> exit() override {
        while (tree_.main_is_there(now())) co_await until(tree_.exits_at);
        if (unseen_) co_return ExitStatus{.known = Known::unseen};
        co_return tree_.exits_as;
    }
    awaitable<void> empty() override {
        while (tree_.anybody_is_there(now())) {
            co_await until(tree_.main_is_there(now()) ? tree_.exits_at : tree_.children_leave_at);
        }
    }
    std::string cgroup() const override { return tree_.cgroup; }
    void clean_up() override {
        if (!machine_.agent_is_dead) tree_.cgroup.clear();
    }
    std::vector<Survivor> survivors() override {
        if (tree_.main_is_there(now())) return {{.pid = 4711, .command = "main", .state = 'D'}};
        if (tree_.anybody_is_there(now())) {
            return {{.pid = 4712, .command = "child", .state = 'S'}};
        }
        return {};
    }

 private:
    Clock::duration now() const { return sim_.clock.now().time_since_epoch(); }
    awaitable<void> until(std::optional<Clock::duration> time) {
        const auto at = time ? Clock::time_point(*time) : never;
        co_await before(sim_.clock, at, done(changed_.next()));
    }
    Sim& sim_;
    Machine& machine_;
    Tree& tree_;
    Pulse changed_;
    bool unseen_;
};

class MachineLauncher final : public Launcher {
 public:
    MachineLauncher(Sim& sim, Machine& machine) : sim_(sim), machine_(machine) {}
    std::unique_ptr<Process> launch(const ContainerDefinition& container,
                                    const std::string& task_id) override {
        auto& tree = machine_.trees[task_id + "/" + container.name];
        if (!machine_.agent_is_dead) {
            machine_.launches.push_back(container.name);
            for (const auto& [name, other] : machine_.trees) {
                const bool same = name.ends_with("/" + container.name);
                if (same && other && other->anybody_is_there(now())) machine_.second_copy = true;
            }
        }
        tree = std::make_unique<Tree>();
        machine_.behaviour(*tree, container.name);
        for (auto& [signal, time] : tree->exits_on) {
            if (signal == 0) tree->exit_at(now() + time, {});
        }
        return std::make_unique<Handle>(sim_, machine_, *tree, false);
    }
    std::unique_ptr<Process> adopt(const ContainerDefinition& container, const std::string& task_id,
                                   const ContainerState& was) override {
        auto& tree = machine_.trees[task_id + "/" + container.name];
        if (!tree) {  // it was never launched
            tree = std::make_unique<Tree>();
            tree->exit_at(now(), {});
        }
        if (was.exit) tree->exits_as = *was.exit;
        const bool gone = !was.exit && !tree->main_is_there(now());
        return std::make_unique<Handle>(sim_, machine_, *tree, gone);
    }

 private:
    Clock::duration now() const { return sim_.clock.now().time_since_epoch(); }
    Sim& sim_;
    Machine& machine_;
};

class MachineBalancer final : public LoadBalancer {
 public:
    MachineBalancer(Sim& sim, Machine& machine) : sim_(sim), machine_(machine) {}
    awaitable<void> register_target(const std::string&) override {
        if (!machine_.agent_is_dead) machine_.balancer.registered.push_back(now());
        co_return;
    }
    awaitable<void> deregister(const std::string&) override {
        auto& balancer = machine_.balancer;
        if (balancer.silent) co_await sim_.clock.sleep_until(never);
        if (balancer.refuses) throw LoadBalancerError("cannot deregister: No such server.", false);
        if (!machine_.agent_is_dead && !balancer.deregistered) balancer.deregistered = now();
        co_return;
    }
    awaitable<TargetReport> state_of(const std::string&) override {
        const auto& balancer = machine_.balancer;
        const bool unused = balancer.deregistered && balancer.unused_after &&
                            now() >= *balancer.deregistered + *balancer.unused_after;
        co_return TargetReport{.state = unused ? TargetState::unused : TargetState::draining,
                               .connections = unused ? 0 : 3};
    }

 private:
    Clock::duration now() const { return sim_.clock.now().time_since_epoch(); }
    Sim& sim_;
    Machine& machine_;
};

class MachineJournal final : public Journal {
 public:
    explicit MachineJournal(Machine& machine) : machine_(machine) {}
    awaitable<void> record(const TaskState& task) override {
        machine_.keep(task);
        co_return;
    }
    awaitable<void> record(StopRecord stop, std::optional<std::size_t>) override {
        machine_.keep(stop);
        co_return;
    }
    void note(const TaskState& task) override { machine_.keep(task); }
    void note(StopRecord stop, std::optional<std::size_t>) override { machine_.keep(stop); }
    awaitable<std::vector<Remnant>> remnants(Clock::utc_time) override {
        std::vector<Remnant> all;
        for (const auto& task : machine_.tasks) {
            if (task.last_status == TaskStatus::stopped) continue;
            Remnant remnant{.task = task};
            for (const auto& stop : machine_.stops) {
                if (stop.task_id == task.id) remnant.stop = stop;
            }
            all.push_back(std::move(remnant));
        }
        co_return all;
    }
    awaitable<std::vector<StopRecord>> stops(std::optional<std::string>, std::size_t) override {
        co_return machine_.stops;
    }

 private:
    Machine& machine_;
};

/// One agent on the machine, from its start to its death, or to the end of the task.
struct Agent {
    Sim sim;
    Machine& machine;
    FakeLog log;
    MachineJournal journal{machine};
    MachineLauncher launcher{sim, machine};
    std::shared_ptr<MachineBalancer> balancer = std::make_shared<MachineBalancer>(sim, machine);
    int ids = 0;
    std::string generation;
    bool behind_load_balancer = true;
    Clock::duration settle{};
    std::unique_ptr<Supervisor> supervisor;

    Agent(Machine& its_machine, std::string its_generation)
        : machine(its_machine), generation(std::move(its_generation)) {
        sim.clock.begin(Clock::time_point(machine.now));
    }

    void start() {
        supervisor = std::make_unique<Supervisor>(
            Surroundings{.executor = sim.executor(),
                         .clock = sim.clock,
                         .journal = journal,
                         .log = log,
                         .launcher = launcher,
                         .memberships =
                             [this](const TaskDefinition&) {
                                 std::vector<Membership> all;
                                 if (!behind_load_balancer) return all;
                                 all.push_back({.url = "fake:web",
                                                .load_balancer = balancer,
                                                .target = "web/web1",
                                                .knows = machine.balancer.knows,
                                                .settle = settle,
                                                .poll = 500ms});
                                 return all;
                             },
                         .evidence =
                             [this](const TaskDefinition&, std::vector<Process*>) {
                                 auto evidence = std::make_unique<FakeEvidence>(sim);
                                 evidence->visits = machine.visits;
                                 return evidence;
                             },
                         .new_id = [this] { return generation + std::to_string(++ids); }});
    }

    Clock::duration now() const { return sim.clock.now().time_since_epoch(); }
    /// Until `over`, or its death.
    bool run_until(const std::function<bool()>& over) {
        const bool reached = sim.run_until([&] { return machine.agent_is_dead || over(); });
        machine.now = now();
        return reached && !machine.agent_is_dead;
    }
};

}  // namespace lastcall::fault
