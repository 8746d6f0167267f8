#include "supervisor/child.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "supervisor/oom_kills.hpp"
#include "supervisor/proc.hpp"
#include "supervisor/stranger.hpp"

namespace lastcall {
namespace {

constexpr int code_of_a_killed_child = 128 + SIGKILL;  // as a shell passes it on

class Child final : public Process {
 public:
    Child(asio::any_io_executor executor, Reaper& reaper, Launched launched, std::string task_id,
          Orphans orphans, std::unique_ptr<Cgroup> cgroup)
        : reaper_(reaper),
          launched_(launched),
          tree_(launched.pid, std::move(task_id), orphans, std::move(cgroup), reaper),
          ended_(executor),
          settled_(executor) {
        if (launched.exit) {
            ended(*launched.exit);
            return;
        }
        if (orphans != Orphans::ours_alone) start_time_ = proc::start_of(launched.pid);
        // Until it ends its number is its own, whoever reaps it.
        reaper_.expect(launched.pid, [this](ExitStatus status) { ended(status); });
        if (launched.stranger) {
            const auto end = [this](ExitStatus status) {
                reaper_.forget(launched_.pid);
                ended(status);
            };
            strangers_end_.emplace(executor, launched.pidfd, *launched.stranger, end);
        }
        look_out_for_oom_killer(orphans);
    }
    ~Child() override {
        strangers_end_.reset();
        if (!status_) reaper_.forget(launched_.pid);
        if (launched_.pidfd != -1) ::close(launched_.pidfd);
    }

    pid_t id() const override { return launched_.pid; }
    std::uint64_t start_time() const override { return start_time_; }

    void signal(int number, SignalScope scope) override {
        if (number == SIGKILL) killed_ = true;
        if (number == SIGCONT && tree_.cgroup()) tree_.cgroup()->thaw();
        if (number == SIGKILL || scope == SignalScope::tree) {
            tree_.signal(number);
        } else if (status_) {
            return;  // reaped: the number may be a stranger's
        } else if (scope == SignalScope::group) {
            ::kill(-launched_.pid, number);
        } else {
            ::syscall(SYS_pidfd_send_signal, launched_.pidfd, number, nullptr, 0);
        }
    }

    awaitable<ExitStatus> exit() override {
        co_await ended_.wait();
        co_return *status_;
    }

    awaitable<void> empty() override {
        co_await ended_.wait();
        while (!tree_.is_empty()) co_await tree_.changed();
    }

    bool any_left() override { return !status_ || tree_.count() > 0; }
    std::size_t left() override { return tree_.count(); }
    std::vector<Survivor> survivors() override { return tree_.survivors(); }
    std::vector<Survivor> strays() override { return tree_.strays(); }
    std::string cgroup() const override {
        return tree_.cgroup() ? tree_.cgroup()->path() : std::string();
    }
    void clean_up() override {
        if (tree_.cgroup()) tree_.cgroup()->remove();
    }

 private:
    void ended(ExitStatus status) {
        const bool by_kill = status.signal == SIGKILL || status.code == code_of_a_killed_child;
        status.out_of_memory |= by_kill && !killed_ && oom_.any();
        status_ = status;
        ended_.set();
    }

    /// A wrapped command's start has no time for this. As PID 1 there was nobody before us to be
    /// killed; elsewhere a command that lives shorter dies without this being known.
    void look_out_for_oom_killer(Orphans orphans) {
        if (orphans != Orphans::ours_alone) return oom_.begin(cgroup());
        if (::getpid() == 1) return oom_.begin({}, true);
        settled_.expires_after(std::chrono::milliseconds(200));
        settled_.async_wait([this](const boost::system::error_code& error) {
            if (!error) oom_.begin();
        });
    }

    Reaper& reaper_;
    Launched launched_;
    ProcessTree tree_;
    Event ended_;
    asio::steady_timer settled_;
    std::optional<StrangersEnd> strangers_end_;
    std::uint64_t start_time_ = 0;
    OomKills oom_;
    bool killed_ = false;  ///< by us
    std::optional<ExitStatus> status_;
};

class ChildLauncher final : public Launcher {
 public:
    ChildLauncher(asio::any_io_executor executor, Reaper& reaper, Inheritance inherited,
                  Orphans orphans)
        : executor_(std::move(executor)),
          reaper_(reaper),
          inherited_(inherited),
          orphans_(orphans) {}

    std::unique_ptr<Process> launch(const ContainerDefinition& container,
                                    const std::string& task_id) override {
        LaunchOptions options{.command = container.command,
                              .environment = container.environment,
                              .working_directory = container.working_directory,
                              .identity = container.identity,
                              .log_file = container.log_file,
                              .own_stdin = false,
                              .keep_descriptors = false,
                              .inherited = inherited_};
        options.environment.push_back("LASTCALL_TASK=" + task_id);
        std::unique_ptr<Cgroup> cgroup;
        if (orphans_ != Orphans::ours_alone) {
            cgroup = Cgroup::make(executor_, cgroup_name(container, task_id));
        }
        const auto launched = launch_into(cgroup, options);
        const auto orphans = container.is_hook ? Orphans::elsewhere : orphans_;
        return supervise(executor_, reaper_, launched, task_id, orphans, std::move(cgroup));
    }

    std::unique_ptr<Process> adopt(const ContainerDefinition& container, const std::string& task_id,
                                   const ContainerState& was) override {
        auto cgroup = was.cgroup.empty() ? Cgroup::find(executor_, cgroup_name(container, task_id))
                                         : Cgroup::open(executor_, was.cgroup);
        const auto orphans = container.is_hook ? Orphans::elsewhere : orphans_;
        Launched launched{.pid = was.pid, .exit = was.exit};
        std::optional<Stranger> main;
        if (!was.exit) {
            const auto pid = was.start_time == 0 ? one_of(cgroup.get(), task_id, was.pid) : was.pid;
            const auto since = was.start_time == 0 ? proc::start_of(pid) : was.start_time;
            main = find_again(pid, since);
            if (!main) launched.exit = ExitStatus{.known = Known::unseen};
        }
        if (main) launched = {.pid = main->pid, .pidfd = main->pidfd};
        if (main && !main->is_child)
            launched.stranger = main->has_ended ? Known::unseen : Known::unkept;
        // Who was orphaned before us didn't come to us.
        const bool is_child = main && main->is_child;
        return supervise(executor_, reaper_, launched, task_id,
                         is_child ? orphans : Orphans::elsewhere, std::move(cgroup));
    }

 private:
    static std::string cgroup_name(const ContainerDefinition& container,
                                   const std::string& task_id) {
        return fmt::format("lastcall-{}-{}", task_id, container.name);
    }

    /// Whom an agent launched that died before it could write down all of it: of those that are in
    /// its cgroup or carry its mark the one with this id, or, if that isn't known, the first.
    static pid_t one_of(const Cgroup* cgroup, const std::string& mark, pid_t pid) {
        const auto all = cgroup ? cgroup->members() : marked(mark);
        if (pid != 0) return std::find(all.begin(), all.end(), pid) == all.end() ? 0 : pid;
        pid_t eldest = 0;
        std::uint64_t since = 0;
        for (const pid_t each : all) {
            const auto start = proc::start_of(each);
            if (start == 0 || (eldest != 0 && since <= start)) continue;
            eldest = each;
            since = start;
        }
        return eldest;
    }

    /// A cgroup that can be made isn't always one that a process can be born in: then without.
    static Launched launch_into(std::unique_ptr<Cgroup>& cgroup, LaunchOptions& options) {
        if (!cgroup) return lastcall::launch(options);
        options.cgroup = cgroup->directory();
        try {
            return lastcall::launch(options);
        } catch (const LaunchError& error) {
            cgroup->remove();
            if (error.executing()) throw;
        }
        cgroup.reset();
        options.cgroup = -1;
        return lastcall::launch(options);
    }

    asio::any_io_executor executor_;
    Reaper& reaper_;
    Inheritance inherited_;
    Orphans orphans_;
};

}  // namespace

std::unique_ptr<Process> supervise(asio::any_io_executor executor, Reaper& reaper,
                                   Launched launched, std::string task_id, Orphans orphans,
                                   std::unique_ptr<Cgroup> cgroup) {
    return std::make_unique<Child>(std::move(executor), reaper, launched, std::move(task_id),
                                   orphans, std::move(cgroup));
}

std::unique_ptr<Launcher> child_launcher(asio::any_io_executor executor, Reaper& reaper,
                                         Inheritance inherited, Orphans orphans) {
    return std::make_unique<ChildLauncher>(std::move(executor), reaper, inherited, orphans);
}

}  // namespace lastcall
