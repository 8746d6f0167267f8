#include "agent/run.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <system_error>

#include "agent/definition.hpp"
#include "agent/house.hpp"
#include "agent/journal/sqlite_journal.hpp"

namespace lastcall {
namespace {

constexpr int not_executable = 126, not_found = 127, own_failure = 125;

void complain(const std::string& what) { fmt::print(stderr, "agent: {}\n", what); }

bool is_foreground_terminal() {
    return ::isatty(STDIN_FILENO) == 1 && ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
}

int code_of_failed_start(const std::error_code& code) {
    if (code == std::errc::no_such_file_or_directory) return not_found;
    if (code == std::errc::not_a_directory) return not_found;
    const bool short_of_something =
        code == std::errc::resource_unavailable_try_again || code == std::errc::not_enough_memory;
    return short_of_something ? own_failure : not_executable;
}

/// The shell's way of saying it: only here, at the very edge.
int exit_code(const StopRecord& record) {
    const auto& exit = record.containers.empty() ? std::nullopt : record.containers.front().exit;
    if (!exit) return 128 + SIGKILL;  // unkillable: nobody knows how it will end
    return exit->signal != 0 ? 128 + exit->signal : exit->code;
}

/// While a task runs nothing is fatal: without a journal on disk the record lives in memory.
std::unique_ptr<Journal> journal(const Settings& settings, asio::any_io_executor executor,
                                 Log& log) {
    if (settings.data_dir.empty()) return memory_journal();
    try {
        return sqlite_journal(executor, settings.data_dir, log);
    } catch (const std::exception& error) {
        log.say(Level::warn, "Records are kept in memory", {{"error", error.what()}});
        return memory_journal();
    }
}

class Wrapper {
 public:
    Wrapper(House& house, const Settings& settings)
        : house_(house), settings_(settings), stops_(settings.stop.stop_signal) {}

    awaitable<void> work(TaskDefinition definition, std::string id,
                         std::unique_ptr<Process> process) {
        process_ = process.get();
        house_.supervisor().start_with(std::move(definition), std::move(id), std::move(process));
        house_.alongside(house_.handle_signals([this](const auto& signal) { heard(signal); }));
        auto ending = house_.supervisor().stopped(settings_.task);
        record_ = co_await std::move(ending);
    }
    const StopRecord& record() const { return record_; }

 private:
    void heard(const signalfd_siginfo& signal) {
        const auto number = static_cast<int>(signal.ssi_signo);
        const auto wish = stops_.wish(number, sender_of(signal), house_.clock->now());
        if (wish) {
            house_.supervisor().request_stop(settings_.task, *wish);
        } else if (is_forwardable(signal)) {
            process_->signal(number, settings_.stop.signal_scope);
        }
    }

    House& house_;
    const Settings& settings_;
    StopSignals stops_;
    Process* process_ = nullptr;
    StopRecord record_;
};

/// From here on the command runs: nothing may end us but its end.
[[noreturn]] void wrap(const Configuration& configuration, const Role& role,
                       const Inheritance& inherited, TaskDefinition definition, std::string id,
                       Launched launched) {
    const Settings& settings = configuration.settings;
    House house(configuration, role, inherited,
                [&settings](asio::any_io_executor executor, Log& log) {
                    return journal(settings, std::move(executor), log);
                });
    if (!settings.socket.empty()) {
        try {
            house.open_socket();
        } catch (const std::exception& error) {
            house.log->say(Level::warn, "No control socket", {{"error", error.what()}});
        }
    }
    auto process = supervise(house.executor(), house.reaper, launched, id, Orphans::ours_alone);
    Wrapper wrapper(house, settings);
    house.run(wrapper.work(std::move(definition), std::move(id), std::move(process)));
    house.leave(exit_code(wrapper.record()));
}

}  // namespace

int run(const Options& options, const Inheritance& inherited) {
    const Role role{.mode = Role::Mode::run,
                    .pid1 = ::getpid() == 1,
                    .root = ::geteuid() == 0,
                    .command = options.arguments.empty() ? "" : options.arguments.front()};
    const Configuration configuration = configure(role, environment(), options.flags);
    if (options.print_config) {
        print_configuration(configuration);
        return 0;
    }
    auto troubles = configuration.errors;
    for (auto& trouble : load_balancer_troubles(configuration.settings))
        troubles.push_back(trouble);
    if (options.arguments.empty())
        troubles.push_back("no command: agent run [flags] -- COMMAND [ARGUMENT…]");
    for (const auto& trouble : troubles) complain(trouble);
    if (!troubles.empty()) return own_failure;

    if (!role.pid1) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    std::string id = random_id();
    LaunchOptions launching{.command = options.arguments,
                            .environment = task_environment({"AGENT_SOCKET", "AGENT_TASK"}),
                            .foreground = is_foreground_terminal(),
                            .inherited = inherited};
    auto definition =
        wrapped_task(configuration.settings, launching.command, launching.environment);
    launching.environment.push_back("LASTCALL_TASK=" + id);
    Launched launched;
    try {
        launched = launch(launching);
    } catch (const std::system_error& error) {
        complain(error.what());
        return code_of_failed_start(error.code());
    }
    wrap(configuration, role, inherited, std::move(definition), std::move(id), launched);
}

}  // namespace lastcall
