#pragma once
#include <algorithm>
#include <array>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/connections.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"
#include "supervisor/process.hpp"
#include "tests/unit/sim.hpp"

// Parts of a world in virtual time. They behave; they don't expect.
namespace lastcall {

using Sent = std::vector<std::pair<Clock::duration, int>>;

/// A process tree: a main process and, if wanted, children that it leaves behind.
class FakeProcess final : public Process {
 public:
    explicit FakeProcess(Sim& sim)
        : sim_(sim), main_gone_(sim.executor()), all_gone_(sim.executor()) {}

    std::map<int, Clock::duration> exits_on;        ///< signal → how long it then takes to exit
    ExitStatus exits_as;                            ///< … and how
    std::map<int, Clock::duration> tree_leaves_on;  ///< the same for the children left behind
    bool has_children = false;
    bool unkillable = false;
    bool unwatchable = false;  ///< waiting for it fails
    bool unsignallable = false;
    int blind_looks = 0;       ///< so many looks at who is left fail first
    bool unremovable = false;  ///< its cgroup
    std::vector<Survivor> may_be_left;
    std::string own_cgroup;
    std::optional<Clock::duration> cleaned_up;      ///< when
    std::function<void(int, SignalScope)> hearing;  ///< looks at every signal
    Sent signals;                                   ///< but SIGCONT
    Sent tree_signals;                              ///< those sent to the whole tree
    int continued = 0;

    pid_t id() const override { return 4711; }
    void signal(int number, SignalScope scope) override {
        if (unsignallable) throw std::runtime_error("cannot signal: denied");
        if (number == SIGCONT) {
            ++continued;
            return;
        }
        if (hearing) hearing(number, scope);
        const auto now = sim_.clock.now().time_since_epoch();
        (scope == SignalScope::tree ? tree_signals : signals).emplace_back(now, number);
        if (number == SIGKILL) {
            if (!unkillable) {
                leave({.signal = SIGKILL});
                leave_tree();
            }
            return;
        }
        if (const auto found = exits_on.find(number); found != exits_on.end() && !status_) {
            exit_at(now + found->second, exits_as);
        }
        const auto found = tree_leaves_on.find(number);
        if (scope == SignalScope::tree && found != tree_leaves_on.end()) {
            at(now + found->second, [this] { leave_tree(); });
        }
    }
    void exit_at(Clock::duration time, ExitStatus status) {
        at(time, [this, status] { leave(status); });
    }
    void exit_now(ExitStatus status) { leave(status); }
    awaitable<ExitStatus> exit() override {
        if (unwatchable) throw std::runtime_error("cannot wait for the process: no pidfd");
        co_await main_gone_.wait();
        co_return *status_;
    }
    awaitable<void> empty() override {
        co_await main_gone_.wait();
        if (has_children) co_await all_gone_.wait();
    }
    std::vector<Survivor> survivors() override {
        if (blind_looks > 0) {
            --blind_looks;
            throw std::runtime_error("cannot look: out of memory");
        }
        std::vector<Survivor> left;
        if (!status_) left.push_back({.pid = 4711, .command = "main", .state = 'D'});
        if (has_children && !all_gone_.is_set()) {
            left.push_back({.pid = 4712, .command = "child", .state = 'S'});
        }
        return left;
    }
    std::vector<Survivor> strays() override { return may_be_left; }
    std::string cgroup() const override { return own_cgroup; }
    void clean_up() override {
        cleaned_up = sim_.clock.now().time_since_epoch();
        if (unremovable) throw std::runtime_error("cannot remove the cgroup: busy");
    }

 private:
    void leave(ExitStatus status) {
        if (status_) return;
        status_ = status;
        main_gone_.set();
    }
    void leave_tree() { all_gone_.set(); }
    /// Nothing happens to one that is destroyed by then.
    void at(Clock::duration time, std::function<void()> action) {
        sim_.at(time, [here = std::weak_ptr<bool>(here_), action = std::move(action)] {
            if (!here.expired()) action();
        });
    }

    std::shared_ptr<bool> here_ = std::make_shared<bool>(true);
    Sim& sim_;
    std::optional<ExitStatus> status_;
    Event main_gone_, all_gone_;
};

/// A load balancer that knows how many requests are in flight, or one that doesn't.
class FakeLoadBalancer final : public LoadBalancer {
 public:
    explicit FakeLoadBalancer(Sim& sim) : sim_(sim) {}

    Clock::duration acknowledges_in{};                  ///< each deregistration takes so long
    std::optional<Clock::duration> unused_after = 20s;  ///< from the deregistration; none: never
    int failures = 0;              ///< the first so many deregistrations fail, and may be retried
    bool refuses = false;          ///< every one fails, and no retry can mend it
    bool silent = false;           ///< it answers nothing at all
    bool throws_nonsense = false;  ///< it throws what isn't even an exception
    std::optional<Clock::duration> breaks_at;  ///< from then on it doesn't report
    bool partial = false;                      ///< it can't see all that is in flight
    std::optional<Clock::duration> again;      ///< when asking again is worth it
    int asked = 0;
    std::int64_t in_flight = 3;
    std::vector<Clock::duration> deregistered, registered;  ///< when it was asked
    std::optional<std::uint16_t> port;
    std::function<void(Membership&)> introduces;  ///< may throw
    Clock::duration introduces_in{};
    int introduced = 0;

    awaitable<void> introduce(Membership& membership) override {
        if (introduces_in > 0s) co_await sim_.clock.sleep_until(sim_.clock.now() + introduces_in);
        ++introduced;
        if (introduces) introduces(membership);
    }
    awaitable<void> register_target(const std::string&) override {
        registered.push_back(now());
        if (silent) co_await sim_.clock.sleep_until(never);
    }
    awaitable<void> deregister(const std::string& target) override {
        deregistered.push_back(now());
        if (throws_nonsense) throw 42;
        if (silent) co_await sim_.clock.sleep_until(never);
        if (acknowledges_in > 0ns)
            co_await sim_.clock.sleep_until(sim_.clock.now() + acknowledges_in);
        if (refuses)
            throw LoadBalancerError("cannot deregister " + target + ": No such server.", false);
        if (failures-- > 0) {
            throw LoadBalancerError("cannot deregister " + target + ": connection refused", true);
        }
        since_ = now();
    }
    awaitable<TargetReport> state_of(const std::string&) override {
        ++asked;
        if (breaks_at && now() >= *breaks_at) {
            throw LoadBalancerError("cannot ask: connection refused", true);
        }
        const bool unused = since_ && unused_after && now() >= *since_ + *unused_after;
        co_return TargetReport{.state = unused ? TargetState::unused : TargetState::draining,
                               .connections = unused ? 0 : in_flight,
                               .port = port,
                               .again = again,
                               .partial = partial};
    }

 private:
    Clock::duration now() const { return sim_.clock.now().time_since_epoch(); }
    Sim& sim_;
    std::optional<Clock::duration> since_;
};

/// What the kernel would tell: connections that come and go at given times. It is told of each end
/// in that moment, and looks once a second.
class FakeEvidence final : public Evidence {
 public:
    struct Visit {
        Clock::duration from{}, to = Clock::duration::max();
        std::optional<Clock::duration> rests_from;  ///< at rest since then …
        std::optional<Clock::duration> works_from;  ///< … until then …
        std::optional<Clock::duration> rests_again_from;
        std::array<unsigned char, 4> peer = {127, 0, 0, 1};
    };
    explicit FakeEvidence(Sim& sim) : sim_(sim) {}

    std::vector<Visit> visits;
    bool blind = false;   ///< nothing can be known
    bool throws = false;  ///< looking fails
    bool tells_closes = true;
    bool counts_opens = true;  ///< whether it knows that nobody has come
    Clock::duration listens_from{};
    std::vector<std::uint16_t> named_ports;
    int looks = 0;  ///< those asked for by `open`

    std::optional<Connections> open() override {
        ++looks;
        opens_at_look_ = opens();
        return seen();
    }
    bool may_have_grown() override { return counts_opens ? opens() != opens_at_look_ : true; }
    std::optional<std::int64_t> count() override {
        const auto open = seen();
        return open ? std::optional(static_cast<std::int64_t>(open->size())) : std::nullopt;
    }
    std::string trouble() const override { return blind ? "no port of the task is known" : ""; }
    void watch(bool) override {
        watched_ = true;
        told_until_ = now();
        next_look_ = now() + 1s;
    }
    void unwatch() override { watched_ = false; }
    awaitable<News> news() override {
        if (!watched_) co_await sim_.clock.sleep_until(never);
        auto next = next_look_;
        for (const Visit& visit : visits) {
            if (tells_closes && visit.to > told_until_) next = std::min(next, visit.to);
        }
        co_await sim_.clock.sleep_until(Clock::time_point(next));
        News news;
        for (std::size_t index = 0; tells_closes && index < visits.size(); ++index) {
            const auto to = visits[index].to;
            if (to > told_until_ && to <= now()) news.closed.push_back(index + 1);
        }
        told_until_ = now();
        if (now() >= next_look_) {
            news.looked = true;
            news.open = seen();
            opens_at_look_ = opens();
            next_look_ = now() + 1s;
        }
        co_return news;
    }
    std::optional<bool> listening() override {
        if (blind) return std::nullopt;
        return now() >= listens_from;
    }
    void named(std::uint16_t port) override { named_ports.push_back(port); }
    std::set<std::uint16_t> ports() const override {
        return {named_ports.begin(), named_ports.end()};
    }

 private:
    Clock::duration now() const { return sim_.clock.now().time_since_epoch(); }
    std::size_t opens() const {
        return static_cast<std::size_t>(
            std::count_if(visits.begin(), visits.end(),
                          [this](const Visit& visit) { return visit.from <= now(); }));
    }
    std::optional<Connections> seen() const {
        if (throws) throw std::runtime_error("cannot dump sockets: denied");
        if (blind) return std::nullopt;
        Connections open;
        for (std::size_t index = 0; index < visits.size(); ++index) {
            const Visit& visit = visits[index];
            if (now() < visit.from || now() >= visit.to) continue;
            Connection connection{.port = 8081,
                                  .peer = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
                                  .rests_since = std::nullopt};
            std::copy(visit.peer.begin(), visit.peer.end(), connection.peer.begin() + 12);
            const bool works = visit.works_from && now() >= *visit.works_from;
            if (visit.rests_from && now() >= *visit.rests_from && !works)
                connection.rests_since = Clock::time_point(*visit.rests_from);
            if (visit.rests_again_from && now() >= *visit.rests_again_from)
                connection.rests_since = Clock::time_point(*visit.rests_again_from);
            open[index + 1] = connection;
        }
        return open;
    }

    Sim& sim_;
    bool watched_ = false;
    Clock::duration told_until_{}, next_look_{};
    std::size_t opens_at_look_ = 0;
};

/// Remembers every record; may be slow, or broken.
class FakeJournal final : public Journal {
 public:
    explicit FakeJournal(Sim& sim) : sim_(sim) {}
    bool broken = false;
    Clock::duration takes{};
    std::vector<StopRecord> records;
    std::vector<TaskState> tasks;
    std::vector<Remnant> left;                         ///< by an earlier agent
    std::function<void(const StopRecord&)> recording;  ///< looks at the world before each record

    awaitable<void> record(const TaskState& task) override {
        co_await work();
        tasks.push_back(task);
    }
    awaitable<void> record(StopRecord stop, std::optional<std::size_t>) override {
        if (recording) recording(stop);
        co_await work();
        records.push_back(std::move(stop));
    }
    void note(StopRecord stop, std::optional<std::size_t>) override {
        if (recording) recording(stop);
        if (!broken) records.push_back(std::move(stop));
    }
    void note(const TaskState& task) override {
        if (!broken) tasks.push_back(task);
    }
    awaitable<std::vector<Remnant>> remnants(Clock::utc_time) override { co_return left; }
    awaitable<std::vector<StopRecord>> stops(std::optional<std::string>, std::size_t) override {
        co_return records;
    }

 private:
    awaitable<void> work() {
        if (takes > 0ns) co_await sim_.clock.sleep_until(sim_.clock.now() + takes);
        if (broken) throw std::runtime_error("cannot record: disk is full");
    }
    Sim& sim_;
};

/// Keeps what was said, "warn: message error=…".
class FakeLog final : public Log {
 public:
    std::vector<std::string> lines;
    void say(Level level, std::string_view message, std::initializer_list<Field> fields) override {
        static constexpr const char* names[] = {"debug", "info", "warn", "error", "crit", "none"};
        std::string line =
            std::string(names[static_cast<int>(level)]) + ": " + std::string(message);
        for (const auto& [key, value] : fields) line += " " + std::string(key) + "=" + value;
        lines.push_back(std::move(line));
    }
    bool said(std::string_view text) const {
        return std::any_of(lines.begin(), lines.end(), [text](const std::string& line) {
            return line.find(text) != std::string::npos;
        });
    }
};

/// Gives out processes as a test prepares them.
class FakeLauncher final : public Launcher {
 public:
    explicit FakeLauncher(Sim& sim) : sim_(sim) {}
    std::function<void(FakeProcess&)> prepare;
    std::vector<FakeProcess*> launched;
    std::vector<ContainerDefinition> definitions;
    std::vector<std::string> task_ids;
    bool fails = false;

    std::unique_ptr<Process> launch(const ContainerDefinition& container,
                                    const std::string& task_id) override {
        if (fails) {
            throw std::system_error(ENOENT, std::generic_category(),
                                    "cannot start '" + container.name + "'");
        }
        auto process = std::make_unique<FakeProcess>(sim_);
        if (prepare) prepare(*process);
        launched.push_back(process.get());
        definitions.push_back(container);
        task_ids.push_back(task_id);
        return process;
    }
    /// What `find` knows of; else it has ended while nobody was there.
    std::function<std::unique_ptr<Process>(const std::string& task_id, const ContainerState& was)>
        find;
    std::unique_ptr<Process> adopt(const ContainerDefinition&, const std::string& task_id,
                                   const ContainerState& was) override {
        if (find) return find(task_id, was);
        auto gone = std::make_unique<FakeProcess>(sim_);
        gone->exit_now({.known = Known::unseen});
        return gone;
    }

 private:
    Sim& sim_;
};

}  // namespace lastcall
