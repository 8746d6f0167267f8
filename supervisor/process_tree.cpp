#include "supervisor/process_tree.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <set>
#include <utility>

#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

constexpr auto look_again = std::chrono::milliseconds(50);  // where the kernel tells us nothing
constexpr int most_rounds = 100;  // of killing what was forked meanwhile; then the caller's turn

/// Where it waits is read only of who can't be woken: of a hundred that fork it takes a second.
Survivor describe(pid_t pid) {
    const auto status = proc::status_of(pid);
    return {.pid = pid,
            .command = status.command,
            .state = status.state,
            .wait_channel = status.state == 'D' ? proc::wait_channel_of(pid) : std::string()};
}

Orphan orphan(pid_t pid) {
    return {.pid = pid,
            .identity = proc::identity_of(pid),
            .start = [pid] { return proc::start_of(pid); },
            .environment = [pid] { return proc::environment_of(pid); }};
}

/// Ahead of those we are killing: beside a hundred that fork, it is seldom our turn
/// (setpriority(2); refused without CAP_SYS_NICE, and then we go on as we are).
class Urgent {
 public:
    explicit Urgent(bool really) : before_(::getpriority(PRIO_PROCESS, 0)), really_(really) {
        if (really_) ::setpriority(PRIO_PROCESS, 0, -20);
    }
    ~Urgent() {
        if (really_) ::setpriority(PRIO_PROCESS, 0, before_);
    }
    Urgent(const Urgent&) = delete;
    Urgent& operator=(const Urgent&) = delete;

 private:
    int before_;
    bool really_;
};

/// Its environment, each variable between two zero bytes. Most processes here are nobody's of ours,
/// and to look again and again takes time: so only at who has memory and yet no environment, as in
/// the middle of an execve.
std::string surroundings_of(pid_t pid) {
    std::string environment = proc::contents("/proc/" + std::to_string(pid) + "/environ");
    if (environment.empty() && proc::status_of(pid).has_memory) {
        environment = proc::environment_of(pid);
    }
    return '\0' + environment + '\0';
}

void send(pid_t to, int number) {
    if (to > 1) ::kill(to, number);  // never everybody, never init; ESRCH: gone meanwhile
}

}  // namespace

ProcessTree::ProcessTree(pid_t main, std::string mark, Orphans orphans,
                         std::unique_ptr<Cgroup> cgroup, Reaper& reaper)
    : main_(main),
      mark_(std::move(mark)),
      orphans_(orphans),
      cgroup_(std::move(cgroup)),
      reaper_(reaper) {
    // One with a cgroup too: its orphans are nobody else's.
    if (orphans_ == Orphans::marked) reaper_.kinship.begins(mark_, proc::start_of(main_));
}

ProcessTree::~ProcessTree() { reaper_.kinship.ends(mark_); }

/// The children of ours that it hangs from, and whoever is known without that.
std::vector<pid_t> ProcessTree::roots() {
    std::vector<pid_t> roots;
    if (cgroup_) roots = cgroup_->members();
    // Nobody leaves a cgroup unawares, and to look at all others takes long: of thousands of tasks
    // that stop together each would look at all.
    if (cgroup_ || orphans_ == Orphans::elsewhere) {
        if (reaper_.is_ours(main_)) roots.push_back(main_);
        if (cgroup_) return roots;
        for (const pid_t each : marked(mark_)) roots.push_back(each);
        return roots;
    }
    for (const pid_t child : proc::children_of(::getpid())) {
        const bool main = child == main_ && reaper_.is_ours(child);
        if (main || is_our_orphan(child)) roots.push_back(child);
    }
    return roots;
}

std::vector<pid_t> marked(const std::string& mark) {
    std::vector<pid_t> all;
    const std::string wanted = '\0' + ("LASTCALL_TASK=" + mark) + '\0';
    for (const pid_t each : proc::everybody()) {
        if (surroundings_of(each).find(wanted) != std::string::npos) all.push_back(each);
    }
    return all;
}

bool ProcessTree::is_our_orphan(pid_t child) {
    if (reaper_.is_ours(child)) return false;  // another container's main process, or a helper
    if (reaper_.is_apart(child)) return false;
    if (orphans_ == Orphans::ours_alone) return true;
    // Nobody else can have its number as a group while the main process has it.
    if (reaper_.is_ours(main_) && ::getpgid(child) == main_) return true;
    return reaper_.kinship.task_of(orphan(child)) == mark_;
}

/// A cgroup tells by itself whose they are.
bool ProcessTree::remembers() const { return orphans_ == Orphans::marked && !cgroup_; }

/// Parents first.
std::vector<pid_t> ProcessTree::members() {
    std::vector<pid_t> found = roots();
    std::set<pid_t> known(found.begin(), found.end());
    found.assign(known.begin(), known.end());
    std::vector<pid_t> members;
    somebody_died_ = false;
    for (std::size_t next = 0; next < found.size(); ++next) {
        const pid_t pid = found[next];
        const auto status = proc::status_of(pid);
        if (!status.is_alive()) {
            somebody_died_ = true;
            continue;
        }
        members.push_back(pid);
        if (remembers() && !reaper_.kinship.knows(pid, mark_)) {
            reaper_.kinship.remember(pid, proc::identity_of(pid), mark_);
        }
        for (const pid_t child : proc::children_of(pid, status.threads)) {
            if (known.insert(child).second) found.push_back(child);
        }
    }
    return members;
}

/// Whoever dies while we look may have left us a child that we looked too early for.
std::vector<pid_t> ProcessTree::members_for_sure() {
    auto found = members();
    for (int round = 0; found.empty() && somebody_died_ && round < most_rounds; ++round) {
        reaper_.reap();
        found = members();
    }
    return found;
}

/// What there is without a name: no /proc shows it.
constexpr pid_t unseen = 0;

std::vector<pid_t> ProcessTree::alive() {
    if (!cgroup_) {
        const bool any_child = reaper_.reap();  // one that ended this instant isn't one
        if (!any_child && orphans_ != Orphans::elsewhere) return {};
    }
    if (is_visible()) return members_for_sure();
    if (reaper_.is_ours(main_)) return {main_};
    if (orphans_ == Orphans::ours_alone) return {unseen};
    return {};
}

bool ProcessTree::is_empty() {
    if (cgroup_ && cgroup_->is_populated()) return false;
    const bool empty = alive().empty();
    if (empty && !reaper_.is_ours(main_)) end();
    return empty;
}

std::vector<Survivor> ProcessTree::survivors() {
    std::vector<Survivor> survivors;
    for (const pid_t pid : alive()) {
        Survivor survivor = describe(pid);
        if (survivor.state != '?' || !is_visible()) survivors.push_back(std::move(survivor));
    }
    return survivors;
}

/// Looked at late where a start has no time for it.
bool ProcessTree::is_visible() {
    if (!visible_) visible_ = proc::is_there();
    return *visible_;
}

void ProcessTree::signal(int number) {
    const Urgent urgent(number == SIGKILL);
    if (cgroup_ && number == SIGKILL) cgroup_->kill();
    if (!is_visible()) return signal_unseen(number);
    std::set<pid_t> done;
    for (int round = 0; round < most_rounds; ++round) {
        bool any_new = false;
        for (const pid_t member : members()) {
            if (!done.insert(member).second) continue;
            any_new = true;
            send(member, number);
        }
        if (number != SIGKILL || !any_new) return;
    }
}

/// Without /proc: as PID 1 to everybody there is but us (kill(2)), else to the main process's
/// group.
void ProcessTree::signal_unseen(int number) {
    if (::getpid() == 1) {
        ::kill(-1, number);
    } else if (reaper_.is_ours(main_) && main_ > 1) {
        ::kill(-main_, number);
    }
}

/// Nobody is suspected of what is forked from here on; who may be its own stays nobody's.
void ProcessTree::end() {
    if (std::exchange(ended_, true)) return;
    if (!remembers()) return reaper_.kinship.ends(mark_);
    Kinship::Identities doubtful;
    for (const pid_t child : is_visible() ? proc::children_of(::getpid()) : std::vector<pid_t>()) {
        if (reaper_.is_ours(child) || reaper_.is_apart(child)) continue;
        if (!proc::status_of(child).is_alive()) continue;
        const Orphan it = orphan(child);
        if (reaper_.kinship.task_of(it)) continue;
        const auto suspects = reaper_.kinship.suspects(it.start());
        const bool may_be = std::find(suspects.begin(), suspects.end(), mark_) != suspects.end();
        if (may_be) strays_.emplace(child, it.identity);
        if (may_be || reaper_.kinship.is_doubtful(it)) doubtful.emplace(child, it.identity);
    }
    reaper_.kinship.doubt(std::move(doubtful));
    reaper_.kinship.ends(mark_);
}

std::vector<Survivor> ProcessTree::strays() {
    std::vector<Survivor> strays;
    for (const auto& [pid, identity] : strays_) {
        const bool there = proc::status_of(pid).is_alive() && proc::identity_of(pid) == identity;
        if (there) strays.push_back(describe(pid));
    }
    return strays;
}

awaitable<void> ProcessTree::changed() {
    if (orphans_ != Orphans::elsewhere && !cgroup_) {
        co_await reaper_.next();
        co_return;
    }
    if (cgroup_) {
        auto emptied = done(cgroup_->changed());
        co_await unless(reaper_.next(), std::move(emptied));
        co_return;
    }
    asio::steady_timer again(co_await asio::this_coro::executor, look_again);
    auto waited = done(again.async_wait(use_awaitable));
    co_await unless(reaper_.next(), std::move(waited));
}

}  // namespace lastcall
