#include "agent/house.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/random.h>

#include <cstdlib>
#include <stdexcept>

#include "agent/announcing.hpp"
#include "agent/definition.hpp"
#include "agent/helper_program.hpp"
#include "agent/log_cap.hpp"
#include "agent/utc.hpp"
#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

Surroundings surroundings(House& house, const Settings& settings, const Role& role,
                          Journal& journal, Launcher& launcher, Sockets& sockets,
                          LoadBalancers& load_balancers) {
    Clock& clock = *house.clock;
    Log& log = *house.log;
    const auto memberships = [&load_balancers](const TaskDefinition& definition) {
        std::vector<Membership> all;
        try {
            for (const auto& url : definition.load_balancers) {
                all.push_back(load_balancers.membership(url));
            }
        } catch (const std::invalid_argument& error) {
            throw BadRequest(error.what());
        }
        return all;
    };
    const auto memberships_left = [&load_balancers](const TaskDefinition& definition) {
        std::vector<Membership> all;
        for (const auto& url : definition.load_balancers) {
            all.push_back(load_balancers.membership_left(url));
        }
        return all;
    };
    const auto introduced = [&log](const TaskDefinition& definition, const Membership& membership) {
        for (const auto& warning : {tight_deadline(definition.stop, membership),
                                    longer_delay(definition.stop, membership)}) {
            if (!warning) continue;
            log.say(Level::warn, *warning,
                    {{"task", definition.name}, {"loadBalancer", membership.url}});
        }
    };
    const auto evidence = [&house, &sockets, whole_namespace = role.pid1](
                              const TaskDefinition& definition, std::vector<Process*> processes) {
        return task_connections(*house.clock, house.executor(), sockets, definition.ports,
                                std::move(processes), whole_namespace);
    };
    return {.executor = house.executor(),
            .clock = clock,
            .journal = journal,
            .log = log,
            .launcher = launcher,
            .memberships = memberships,
            .memberships_left = memberships_left,
            .introduced = introduced,
            .evidence = evidence,
            .new_id = random_id,
            .cleanup_wait = settings.cleanup_wait};
}

/// DESIGN rule 6: as PID 1 with a load balancer somebody else's deadline is assumed, and said.
void say_assumed_deadline(const Configuration& configuration, Log& log) {
    const auto& deadline = configuration.settings.stop.stop_deadline;
    for (const auto& row : configuration.rows) {
        if (row.name != "AGENT_STOP_DEADLINE" || row.source != "default" || !deadline) continue;
        log.say(Level::info,
                "A stop deadline is assumed: AGENT_STOP_DEADLINE names the real one, or none",
                {{"stopDeadline", row.value}});
    }
}

}  // namespace

House::House(const Configuration& configuration, const Role& role, const Inheritance& inherited,
             const JournalMaker& journal)
    : clock(boot_clock(io.get_executor())),
      log(agent_log(configuration.settings)),
      reaper(io.get_executor()),
      start_helper(helper_starter(io.get_executor(), reaper, inherited)),
      configuration_(configuration),
      journal_health_(*clock),
      kept_(journal({.executor = io.get_executor(),
                     .clock = *clock,
                     .disk = disk,
                     .log = *log,
                     .health = journal_health_})),
      journal_(announcing(logged(*kept_, *log),
                          [this] {
                              if (changed) changed();
                          })),
      sockets_(io.get_executor(), *clock, *log),
      load_balancers_(io.get_executor(), *clock, *log, configuration.settings.helper_path,
                      start_helper),
      launcher_(
          child_launcher(io.get_executor(), reaper, inherited,
                         role.mode == Role::Mode::run ? Orphans::ours_alone : Orphans::marked)),
      supervisor_(std::make_unique<Supervisor>(surroundings(
          *this, configuration.settings, role, *journal_, *launcher_, sockets_, load_balancers_))),
      context_{.supervisor = *supervisor_,
               .journal = *journal_,
               .configuration = configuration,
               .define = task_definer(configuration.settings, role),
               .mode = role.mode == Role::Mode::run ? "run" : "serve",
               .journal_health = &journal_health_,
               .started_at = utc_text(clock->utc())},
      signals_(io.get_executor()),
      serving_(io.get_executor()),
      background_(io.get_executor()) {
    journal_health_.restate = [this] { restate(); };
    for (const auto& warning : configuration.warnings) log->say(Level::warn, warning);
    for (const auto& note : configuration.notes) log->say(Level::debug, note);
    say_assumed_deadline(configuration, *log);
    if (!proc::is_there()) {
        log->say(Level::warn,
                 "There is no /proc: only the main process can be told from the others, and the "
                 "ports that a task listens on can't be found");
    }
}

House::~House() = default;

void House::take_over() {
    bool over = false;
    std::exception_ptr failure;
    asio::co_spawn(io, supervisor_->adopt(), [&](std::exception_ptr error) {
        failure = error;
        over = true;
    });
    while (!over) io.run_one();
    io.restart();
    if (!failure) return;
    try {
        std::rethrow_exception(failure);
    } catch (...) {
        log->say(Level::error, "Tasks of an earlier agent can't be found",
                 {{"error", failure_text()}});
    }
}

void House::open_socket() {
    const auto answer = [this](api::Request request) {
        return api::answer(context_, std::move(request));
    };
    server_ = std::make_unique<api::HttpServer>(executor(), *clock, *log,
                                                configuration_.settings.socket, answer);
}

void House::can_upgrade(std::function<awaitable<void>(std::string binary)> upgrade) {
    context_.upgrade = std::move(upgrade);
}

void House::run(awaitable<void> work) {
    std::exception_ptr failure;
    asio::co_spawn(io, live(std::move(work)),
                   [&failure](std::exception_ptr error) { failure = error; });
    io.run();
    if (failure) std::rethrow_exception(failure);
}

awaitable<void> House::live(awaitable<void> work) {
    if (server_) serving_.spawn(server_->serve(), failed("Control socket failed"));
    co_await std::move(work);
    co_await load_balancers_.close();
    if (server_) {
        serving_.cancel();
        co_await serving_.close();
    }
    io.stop();
}

void House::cap_logs() {
    const Settings& settings = configuration_.settings;
    if (settings.log_max_size == 0 || settings.data_dir.empty()) return;
    // The journal sees that the directory is gone, and makes it again.
    const auto missing = [this] {
        const auto ask = [](Journal& journal) -> awaitable<void> {
            co_await journal.stops(std::nullopt, 0);
        };
        alongside(ask(*kept_));
    };
    alongside(lastcall::cap_logs(*clock, disk, *log,
                                 {.directory = settings.data_dir + "/logs",
                                  .size = settings.log_max_size,
                                  .missing = missing}));
}

void House::alongside(awaitable<void> work) {
    background_.spawn(std::move(work), failed("Part of the agent failed"));
}

/// Past the log, which has told it all before.
void House::restate() {
    for (auto& view : supervisor_->views()) {
        if (view.state.last_status == TaskStatus::stopped) continue;
        kept_->note(view.state);
        if (view.stop) kept_->note(std::move(view.stop->record), std::nullopt);
    }
}

Gate::Failed House::failed(std::string_view what) {
    return [this, what](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (...) {
            log->say(Level::error, what, {{"error", failure_text()}});
        }
    };
}

void House::leave(int exit_code) {
    server_.reset();
    journal_.reset();
    kept_.reset();
    std::_Exit(exit_code);
}

awaitable<void> House::handle_signals(std::function<void(const signalfd_siginfo&)> handle) {
    for (;;) {
        const signalfd_siginfo signal = co_await signals_.next();
        if (signal.ssi_signo == SIGCHLD) reaper.reap();
        handle(signal);
    }
}

std::string random_id() {
    unsigned char bytes[16];
    if (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes) {
        throw std::runtime_error("cannot make a random id: getrandom failed");
    }
    std::string id;
    for (const unsigned char byte : bytes) {
        id += "0123456789abcdef"[byte / 16];
        id += "0123456789abcdef"[byte % 16];
    }
    return id;
}

std::vector<std::string> load_balancer_troubles(const Settings& settings) {
    std::vector<std::string> troubles;
    for (const auto& url : settings.load_balancers) {
        if (auto trouble = load_balancer_url_trouble(url, settings.helper_path)) {
            troubles.push_back(std::move(*trouble));
        }
    }
    return troubles;
}

Requester sender_of(const signalfd_siginfo& signal) {
    return {
        .uid = signal.ssi_uid, .pid = static_cast<std::int32_t>(signal.ssi_pid), .via = "signal"};
}

}  // namespace lastcall
