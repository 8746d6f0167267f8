#include "supervisor/child.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <system_error>

#include "supervisor/process_tree.hpp"

namespace lastcall {
namespace {

class Child final : public Process {
 public:
    Child(asio::any_io_executor executor, Reaper& reaper, Launched launched, std::string task_id,
          bool sole)
        : reaper_(reaper),
          launched_(launched),
          tree_(launched.pid, std::move(task_id), sole, reaper),
          ended_(std::move(executor)) {
        reaper_.expect(launched.pid, [this](ExitStatus status) {
            status_ = status;
            ended_.set();
        });
    }
    ~Child() override {
        if (!status_) reaper_.forget(launched_.pid);
        ::close(launched_.pidfd);
    }

    pid_t id() const override { return launched_.pid; }

    void signal(int number, SignalScope scope) override {
        if (number == SIGKILL || scope == SignalScope::tree) {
            for (const pid_t member : tree_.members()) send(member, number);
        } else if (status_) {
            return;  // reaped: the number may be a stranger's
        } else if (scope == SignalScope::group) {
            send(-launched_.pid, number);
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
        while (!tree_.members().empty()) co_await reaper_.next();
        reaper_.reap();  // the last one may be a zombie whose SIGCHLD is still to be read
    }

    std::vector<Survivor> survivors() override {
        reaper_.reap();  // one that ended this instant isn't one
        std::vector<Survivor> survivors;
        for (const pid_t member : tree_.members()) {
            survivors.push_back(ProcessTree::describe(member));
        }
        return survivors;
    }

 private:
    void send(pid_t to, int number) {
        if (to == 0 || to == 1 || to == -1) return;  // never everybody, never init
        ::kill(to, number);                          // ESRCH: gone meanwhile
    }

    Reaper& reaper_;
    Launched launched_;
    ProcessTree tree_;
    Event ended_;
    std::optional<ExitStatus> status_;
};

class ChildLauncher final : public Launcher {
 public:
    ChildLauncher(asio::any_io_executor executor, Reaper& reaper, Inheritance inherited, bool sole)
        : executor_(std::move(executor)), reaper_(reaper), inherited_(inherited), sole_(sole) {}

    std::unique_ptr<Process> launch(const ContainerDefinition& container,
                                    const std::string& task_id) override {
        LaunchOptions options{.command = container.command,
                              .environment = container.environment,
                              .working_directory = container.working_directory,
                              .log_file = container.log_file,
                              .own_stdin = false,
                              .keep_descriptors = false,
                              .inherited = inherited_};
        options.environment.push_back("LASTCALL_TASK=" + task_id);
        return supervise(executor_, reaper_, lastcall::launch(options), task_id, sole_);
    }

 private:
    asio::any_io_executor executor_;
    Reaper& reaper_;
    Inheritance inherited_;
    bool sole_;
};

}  // namespace

std::unique_ptr<Process> supervise(asio::any_io_executor executor, Reaper& reaper,
                                   Launched launched, std::string task_id, bool sole) {
    return std::make_unique<Child>(std::move(executor), reaper, launched, std::move(task_id), sole);
}

std::unique_ptr<Launcher> child_launcher(asio::any_io_executor executor, Reaper& reaper,
                                         Inheritance inherited, bool sole) {
    return std::make_unique<ChildLauncher>(std::move(executor), reaper, inherited, sole);
}

}  // namespace lastcall
