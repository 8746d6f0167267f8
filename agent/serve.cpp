#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "agent/complain.hpp"
#include "agent/directory_lock.hpp"
#include "agent/handover.hpp"
#include "agent/house.hpp"
#include "agent/inherited_listeners.hpp"
#include "agent/journal/sqlite_journal.hpp"
#include "agent/notices.hpp"
#include "agent/outlook.hpp"
#include "agent/run.hpp"
#include "agent/service_manager.hpp"
#include "agent/take_over_check.hpp"
#include "agent/upgrade.hpp"

namespace lastcall {
namespace {

/// Those that were there before us, less those that an earlier image of us has left.
std::vector<int> inherited_descriptors(const Handover& handover) {
    auto descriptors = open_descriptors();
    std::erase_if(descriptors, [&handover](int each) {
        return each == handover.lock || std::ranges::count(handover.listeners, each) > 0;
    });
    return descriptors;
}

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
    Daemon(House& house, ServiceManager& manager, Notices* notices)
        : house_(house), manager_(manager), notices_(notices), wanted_(house.executor()) {}

    bool is_ending() const { return wanted_.is_set(); }

    awaitable<void> work() {
        house_.alongside(house_.handle_signals([this](const auto& signal) { heard(signal); }));
        co_await wanted_.wait();
        house_.alongside(manager_.work_while_stopping());
        auto closing = house_.supervisor().shut_down(first_);
        co_await std::move(closing);
        if (notices_) co_await notices_->finish();
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
    ServiceManager& manager_;
    Notices* notices_;  ///< null: none are asked for
    Event wanted_;
    StopSignals stops_{std::nullopt};
    StopRequest first_;
};

/// From the first request to the end, which a signal asks for; told to who started us.
void live_in(House& house, Origin origin, const Handover& handover, ServiceManagerWishes wishes,
             const DirectoryLock& lock, Notices* notices) {
    const auto briefs = [&house] { return house.supervisor().briefs(); };
    ServiceManager manager(house.executor(), std::move(wishes),
                           {.clock = *house.clock,
                            .log = *house.log,
                            .status = [briefs] { return summary(briefs()); },
                            .stopping = [briefs] { return longest_stop(briefs()); }});
    house.changed = [&manager] { manager.changed(); };
    Daemon daemon(house, manager, notices);
    if (notices) house.alongside(notices->work());
    Upgrade upgrade(house, std::move(origin), handover,
                    {.lock = [&lock] { return lock.descriptor(); },
                     .shutting_down = [&daemon] { return daemon.is_ending(); },
                     .about_to = [&manager] { manager.reloading(); },
                     .failed = [&manager] { manager.ready(); }});
    house.can_upgrade(
        [&upgrade](std::string binary) { return upgrade.prepare(std::move(binary)); });
    house.alongside(upgrade.work());
    house.alongside(manager.work());
    manager.ready();
    if (handover.silent_since != 0) {
        const Clock::time_point since(Clock::duration(handover.silent_since));
        house.upgraded(house.clock->now() - since);
    }
    house.run(daemon.work());
}

}  // namespace

int serve(const Options& options, const Inheritance& inherited_by_us, char** argv) {
    const auto from_before = take_handover();
    Handover handover = from_before.value_or(Handover{.inherited = inherited_by_us});
    Inheritance& inherited = handover.inherited;
    inherit_listeners(handover.listeners);
    handover.inherited_descriptors = inherited_descriptors(handover);
    Origin origin = Origin::of_this_process(argv);
    auto wishes = ServiceManagerWishes::take();  // before a task could see them
    if (options.check) return check_take_over(options);
    const Role role{.mode = Role::Mode::serve, .pid1 = false, .root = ::geteuid() == 0};
    Configuration configuration = configure(role, environment(), options.flags);
    if (options.print_config) {
        print_configuration(configuration);
        return 0;
    }
    auto troubles = configuration.errors;
    for (auto& trouble : load_balancer_troubles(configuration.settings))
        troubles.push_back(trouble);
    std::optional<std::string> notices;
    try {
        notices = notices_program(configuration.settings);
    } catch (const std::runtime_error& error) {
        troubles.emplace_back(error.what());
    }
    for (const auto& trouble : troubles) complain(trouble);
    if (!troubles.empty()) return 1;

    // Before the first task anything wrong is fatal.
    auto& directory = configuration.settings.data_dir;
    directory = std::filesystem::absolute(directory).string();
    DirectoryLock lock(directory, handover.lock);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (!from_before) raise_open_files(inherited);
    House house(configuration, role, inherited, [&directory, &lock](JournalParts parts) {
        parts.reclaim = [&lock] { lock.renew(); };
        return sqlite_journal(std::move(parts), directory);
    });
    // Its tasks live already: an agent that can't go on leaves them to the next one, untouched.
    try {
        house.take_over();
        house.cap_logs();
        house.open_socket();
    } catch (const std::exception& error) {
        complain(error.what());
        house.leave(1);
    }
    close_inherited_listeners();
    house.log->say(Level::info, from_before ? "Agent serves, upgraded" : "Agent serves",
                   {{"socket", configuration.settings.socket},
                    {"dataDir", directory},
                    {"version", LASTCALL_VERSION}});
    std::optional<Notices> heard;
    if (notices) {
        const auto& settings = configuration.settings;
        heard.emplace(Notices::Parts{.executor = house.executor(),
                                     .clock = *house.clock,
                                     .log = *house.log,
                                     .supervisor = house.supervisor(),
                                     .start = house.start_helper,
                                     .program = *notices},
                      NoticeWishes{.spot = settings.spot_draining,
                                   .hook = settings.lifecycle_hook,
                                   .on_failure = settings.hook_on_failure});
    }
    live_in(house, std::move(origin), handover, std::move(wishes), lock, heard ? &*heard : nullptr);
    house.log->say(Level::info, "Agent ends");
    house.leave(0);
}

}  // namespace lastcall
