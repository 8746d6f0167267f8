#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "agent/complain.hpp"
#include "agent/directory_lock.hpp"
#include "agent/house.hpp"
#include "agent/journal/sqlite_journal.hpp"
#include "agent/run.hpp"

namespace lastcall {
namespace {

/// Every task costs us descriptors; the tasks themselves get the old limit back.
void raise_open_files(Inheritance& inherited) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == -1) return;
    inherited.open_files = limit;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

class Daemon {
 public:
    explicit Daemon(House& house) : house_(house), wanted_(house.executor()) {}

    awaitable<void> work() {
        house_.alongside(house_.handle_signals([this](const auto& signal) { heard(signal); }));
        co_await wanted_.wait();
        auto closing = house_.supervisor().shut_down(first_);
        co_await std::move(closing);
    }

 private:
    void heard(const signalfd_siginfo& signal) {
        const auto number = static_cast<int>(signal.ssi_signo);
        auto wish = stops_.wish(number, sender_of(signal), house_.clock->now());
        if (!wish) {
            if (number != SIGPIPE && number != SIGCHLD) {
                house_.log->say(Level::info, "Signal ignored", {{"signal", signal_name(number)}});
            }
            return;
        }
        wish->signal.reset();  // tasks get their own stop signal, not the daemon's
        wish->reason = "The agent is shutting down";
        wish->by.via = "shutdown";
        if (!wanted_.is_set()) {
            house_.log->say(Level::info, "Shutting down", {{"requestedBy", to_string(wish->by)}});
            first_ = *wish;
            return wanted_.set();
        }
        for (const auto& view : house_.supervisor().views()) {
            house_.supervisor().request_stop(view.state.definition.name, *wish);
        }
    }

    House& house_;
    Event wanted_;
    StopSignals stops_{std::nullopt};
    StopRequest first_;
};

}  // namespace

int serve(const Options& options, const Inheritance& inherited_by_us) {
    Inheritance inherited = inherited_by_us;
    const Role role{.mode = Role::Mode::serve, .pid1 = false, .root = ::geteuid() == 0};
    Configuration configuration = configure(role, environment(), options.flags);
    if (options.print_config) {
        print_configuration(configuration);
        return 0;
    }
    auto troubles = configuration.errors;
    for (auto& trouble : load_balancer_troubles(configuration.settings))
        troubles.push_back(trouble);
    for (const auto& trouble : troubles) complain(trouble);
    if (!troubles.empty()) return 1;

    // Before the first task anything wrong is fatal.
    auto& directory = configuration.settings.data_dir;
    directory = std::filesystem::absolute(directory).string();
    DirectoryLock lock(directory);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    raise_open_files(inherited);
    House house(configuration, role, inherited, [&directory, &lock](JournalParts parts) {
        parts.reclaim = [&lock] { lock.renew(); };
        return sqlite_journal(std::move(parts), directory);
    });
    house.take_over();
    house.cap_logs();
    house.open_socket();
    house.log->say(Level::info, "Agent serves",
                   {{"socket", configuration.settings.socket},
                    {"dataDir", directory},
                    {"version", LASTCALL_VERSION}});
    Daemon daemon(house);
    house.run(daemon.work());
    house.log->say(Level::info, "Agent ends");
    house.leave(0);
}

}  // namespace lastcall
