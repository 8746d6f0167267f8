#include "agent/run.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <system_error>

#include "agent/complain.hpp"
#include "agent/config/list.hpp"
#include "agent/definition.hpp"
#include "agent/env_file.hpp"
#include "agent/house.hpp"
#include "agent/journal/sqlite_journal.hpp"
#include "agent/last_resort.hpp"
#include "agent/plain_init.hpp"
#include "agent/user.hpp"
#include "agent/wrapper.hpp"
#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

constexpr int not_executable = 126, not_found = 127, own_failure = 125;

bool is_foreground_terminal() {
    const pid_t foreground = ::tcgetpgrp(STDIN_FILENO);  // -1 where it is no terminal of ours
    return foreground != -1 && foreground == ::getpgrp();
}

int code_of_failed_start(const LaunchError& error) {
    if (!error.executing()) return own_failure;
    const auto& code = error.code();
    if (code == std::errc::no_such_file_or_directory) return not_found;
    if (code == std::errc::not_a_directory) return not_found;
    const bool short_of_something =
        code == std::errc::resource_unavailable_try_again || code == std::errc::not_enough_memory;
    return short_of_something ? own_failure : not_executable;
}

/// `--expect-exit-code`.
int as_expected(int code, const Settings& settings) {
    const auto& expected = settings.expected_codes;
    return std::find(expected.begin(), expected.end(), code) == expected.end() ? code : 0;
}

/// The shell's way of saying it: only here, at the very edge.
int exit_code(const std::optional<ExitStatus>& exit, const Settings& settings) {
    if (!exit) return 128 + SIGKILL;  // unkillable: nobody knows how it will end
    return as_expected(exit->signal != 0 ? 128 + exit->signal : exit->code, settings);
}

std::unique_ptr<Journal> journal(const Settings& settings, JournalParts parts) {
    if (settings.data_dir.empty()) return memory_journal();
    return sqlite_journal(std::move(parts), settings.data_dir);
}

/// Ours, which the command has too; empty if it is gone, or out of our sight.
std::string working_directory() {
    char path[PATH_MAX];
    const char* found = ::getcwd(path, sizeof path);
    return found && *found == '/' ? found : "";
}

std::string below(const std::string& directory, const std::string& path) {
    if (path.empty() || path.front() == '/' || directory.empty()) return path;
    return fmt::format("{}/{}", directory == "/" ? "" : directory, path);
}

/// So that we hold no mount that somebody wants to unmount. The command stays where it is.
void leave_directory(const std::string& here, Settings& settings) {
    if (here.empty()) return;
    for (auto* path : {&settings.log_file, &settings.data_dir, &settings.socket}) {
        *path = below(here, *path);
    }
    std::string helpers;
    for (const auto each : split(settings.helper_path, ":")) {
        helpers += fmt::format("{}{}", helpers.empty() ? "" : ":", below(here, std::string(each)));
    }
    settings.helper_path = helpers;
    [[maybe_unused]] const int done = ::chdir("/");
}

/// Whether nobody can ask us for anything, nor have we anything to tell or to do, until a signal
/// comes or the command ends.
bool is_plain_init(const Configuration& configuration) {
    const Settings& settings = configuration.settings;
    return settings.socket.empty() && settings.load_balancers.empty() &&
           settings.data_dir.empty() && settings.introspection_addr.empty() &&
           settings.log_level > Level::debug && configuration.warnings.empty() && proc::is_there();
}

/// From here on the command runs: nothing may end us but its end.
[[noreturn]] void wrap(Configuration& configuration, const Role& role, LaunchOptions started,
                       std::string id, Launched launched, Orphans orphans, DeadlyParent parent) {
    Terminal terminal(launched.pid, started.foreground);
    std::unique_ptr<House> house;  // outlives a failure: there is no time to tear it down
    std::string failure;
    try {
        Settings& settings = configuration.settings;
        const std::string here = working_directory();
        leave_directory(here, settings);
        if (orphans == Orphans::ours_alone && is_plain_init(configuration)) {
            const PlainWait waited = wait_plainly(launched.pid);
            if (waited.over) {
                terminal.leave();
                std::_Exit(exit_code(waited.exit, settings));
            }
            launched.exit = waited.exit;
        }
        house = std::make_unique<House>(
            configuration, role, started.inherited,
            [&settings](JournalParts parts) { return journal(settings, std::move(parts)); });
        if (!settings.socket.empty()) {
            try {
                house->open_socket();
            } catch (const std::exception& error) {
                house->log->say(Level::warn, "No control socket", {{"error", error.what()}});
            }
        }
        const auto& directory = started.working_directory;
        auto definition = wrapped_task(
            settings, {.command = std::move(started.command),
                       .environment = std::move(started.environment),
                       .working_directory = directory.empty() ? here : below(here, directory),
                       .identity = std::move(started.identity)});
        auto process = supervise(house->executor(), house->reaper, launched, id, orphans);
        Wrapper wrapper(*house, settings, terminal, parent);
        house->run(wrapper.work(std::move(definition), std::move(id), std::move(process)));
        terminal.leave();
        const auto& containers = wrapper.record().containers;
        const auto exit = containers.empty() ? std::nullopt : containers.front().exit;
        house->leave(exit_code(exit, settings));
    } catch (const std::exception& error) {
        failure = error.what();
    } catch (...) {
        failure = "unknown failure";
    }
    const int code = launched.exit ? exit_code(launched.exit, configuration.settings)
                                   : be_plain_init(launched.pid, failure.c_str());
    terminal.leave();
    std::_Exit(as_expected(code, configuration.settings));
}

/// tini's -p: the kernel tells us. SIGKILL would leave the command behind, but for PID 1, with whom
/// its whole namespace dies.
DeadlyParent heed_parent(int signal, bool pid1) {
    const DeadlyParent parent{.kills = signal == SIGKILL && !pid1, .id = ::getppid()};
    ::prctl(PR_SET_PDEATHSIG, parent.kills ? SIGTERM : signal);
    if (::getppid() != parent.id) ::kill(::getpid(), parent.kills ? SIGTERM : signal);
    return parent;
}

/// `--env-file`; what of it would configure the agent is a warning.
void add_env_files(const Options& options, LaunchOptions& launching, Configuration& configuration) {
    const auto ours = environment(true);
    std::string settings;
    for (const auto& path : options.env_files) {
        for (const auto& variable : read_env_file(path, ours)) {
            const auto name = variable.substr(0, variable.find('='));
            if (is_setting(name)) settings += (settings.empty() ? "" : ", ") + name;
            set_variable(launching.environment, variable);
        }
    }
    if (settings.empty()) return;
    configuration.warnings.push_back(fmt::format(
        "--env-file is the command's alone: the agent isn't configured by its {}", settings));
}

/// All that is known before the command is started. Throws std::runtime_error.
LaunchOptions launch_options(const Options& options, const Inheritance& inherited,
                             Configuration& configuration) {
    LaunchOptions launching{.command = options.arguments,
                            .environment = task_environment({"AGENT_SOCKET", "AGENT_TASK"}),
                            .foreground = is_foreground_terminal(),
                            .inherited = inherited};
    if (options.user) {
        User user = find_user(*options.user);
        launching.identity = std::move(user.identity);
        set_variable(launching.environment, "HOME=" + user.home);
    }
    if (!options.env_files.empty()) add_env_files(options, launching, configuration);
    if (options.directory) launching.working_directory = *options.directory;
    return launching;
}

std::vector<std::string> troubles_of(const Options& options, const Configuration& configuration) {
    auto troubles = configuration.errors;
    for (auto& trouble : load_balancer_troubles(configuration.settings)) {
        troubles.push_back(trouble);
    }
    if (options.parent_death_signal && !signal_number(*options.parent_death_signal)) {
        troubles.push_back(
            fmt::format("--parent-death-signal is '{}', not the name or number of a "
                        "signal, like TERM, SIGKILL or 15",
                        *options.parent_death_signal));
    }
    if (options.directory && options.directory->empty()) {
        troubles.push_back("--chdir is '', not a directory");
    }
    if (options.arguments.empty()) {
        troubles.push_back("no command: agent run [flags] -- COMMAND [ARGUMENT…]");
    }
    return troubles;
}

}  // namespace

int run(const Options& options, const Inheritance& inherited) {
    const Role role{.mode = Role::Mode::run,
                    .pid1 = ::getpid() == 1,
                    .root = ::geteuid() == 0,
                    .command = options.arguments.empty() ? "" : options.arguments.front()};
    Configuration configuration = configure(role, environment(), options.flags);
    if (options.print_config) {
        print_configuration(configuration);
        return 0;
    }
    const auto troubles = troubles_of(options, configuration);
    for (const auto& trouble : troubles) complain(trouble);
    if (!troubles.empty()) return own_failure;

    DeadlyParent parent;
    if (options.parent_death_signal) {
        parent = heed_parent(*signal_number(*options.parent_death_signal), role.pid1);
    }
    if (!role.pid1 && options.subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const auto orphans = role.pid1 || options.subreaper ? Orphans::ours_alone : Orphans::elsewhere;
    std::string id;
    LaunchOptions launching;
    Launched launched;
    try {
        id = random_id();
        launching = launch_options(options, inherited, configuration);
        launching.environment.push_back("LASTCALL_TASK=" + id);
        launched = launch(launching);
    } catch (const LaunchError& error) {
        complain(error.what());
        Terminal(0, launching.foreground).leave();  // it may have had it before it failed
        return code_of_failed_start(error);
    } catch (const std::exception& error) {
        complain(error.what());
        return own_failure;
    }
    launching.environment.pop_back();
    wrap(configuration, role, std::move(launching), std::move(id), launched, orphans, parent);
}

}  // namespace lastcall
