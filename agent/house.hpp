#pragma once
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/http_server.hpp"
#include "agent/api/routes.hpp"
#include "agent/config/settings.hpp"
#include "agent/disk.hpp"
#include "agent/journal/sqlite_journal.hpp"
#include "agent/lb/lb.hpp"
#include "agent/log.hpp"
#include "agent/signals.hpp"
#include "supervisor/child.hpp"
#include "supervisor/sockets.hpp"
#include "supervisor/supervisor.hpp"

namespace lastcall {

/// Everything that an agent consists of, chosen and wired: what `run` and `serve` have in common.
///
/// One thread, one io_context. Built after the command was started (run) or before any task
/// (serve).
class House {
 public:
    using JournalMaker = std::function<std::unique_ptr<Journal>(JournalParts)>;
    House(const Configuration& configuration, const Role& role, const Inheritance& inherited,
          const JournalMaker& journal);
    ~House();

    /// Goes on with the tasks that an earlier agent left in the journal. What can't be read is
    /// said.
    void take_over();
    /// Opens the control socket; throws what HttpServer throws.
    void open_socket();
    /// Runs `work` and everything behind it, to the end of `work`; then the control socket closes.
    void run(awaitable<void> work);
    /// Keeps the logs of tasks below their cap, if there is one, in the background.
    void cap_logs();
    /// Goes on until the process ends; a failure of it is logged.
    void alongside(awaitable<void> work);
    /// Ends the process: the socket is unlinked and the journal finished. Nothing else is torn
    /// down: the kernel does that faster than we can.
    [[noreturn]] void leave(int exit_code);
    /// Reaps on every SIGCHLD, and passes every signal on, SIGCHLD too, for ever.
    awaitable<void> handle_signals(std::function<void(const signalfd_siginfo&)> handle);

    /// Lets the control API upgrade the agent: api::Context::upgrade.
    void can_upgrade(std::function<awaitable<void>(std::string binary)> upgrade);
    /// One that began came to nothing: the control API says so.
    void upgrade_failed(const std::string& why) { context_.upgrade_failure = why; }
    /// This image began with an upgrade, for which the control socket was silent so long.
    void upgraded(Clock::duration silent) { context_.silent = silent; }
    api::HttpServer* server() { return server_.get(); }  ///< null: there is no control socket
    Journal& journal() { return *journal_; }
    std::function<void()> changed;  ///< called whenever a task or a stop is recorded, if it is set

    asio::io_context io{1};
    std::unique_ptr<Clock> clock;
    std::unique_ptr<Log> log;
    Reaper reaper;
    helper::StartProgram start_helper;
    Disk disk;
    Supervisor& supervisor() { return *supervisor_; }
    asio::any_io_executor executor() { return io.get_executor(); }

 private:
    awaitable<void> live(awaitable<void> work);
    void restate();
    Gate::Failed failed(std::string_view what);

    const Configuration& configuration_;
    JournalHealth journal_health_;
    std::unique_ptr<Journal> kept_, journal_;
    Sockets sockets_;
    LoadBalancers load_balancers_;
    std::unique_ptr<Launcher> launcher_;
    std::unique_ptr<Supervisor> supervisor_;
    api::Context context_;
    std::unique_ptr<api::HttpServer> server_;
    Signals signals_;
    Gate serving_, background_;
};

/// 32 hex digits from getrandom(2).
std::string random_id();

/// What is wrong with the load balancers' URLs; one line each.
std::vector<std::string> load_balancer_troubles(const Settings& settings);

/// Who sent a signal, as signalfd tells it.
Requester sender_of(const signalfd_siginfo& signal);

}  // namespace lastcall
