#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/config/settings.hpp"
#include "agent/lb/helper.hpp"
#include "supervisor/supervisor.hpp"

namespace lastcall {

/// What is asked for: a spot notice, a lifecycle hook, or both.
struct NoticeWishes {
    bool spot = false;
    std::string hook;        ///< "GROUP/HOOK"; empty: none
    std::string on_failure;  ///< what the hook is told if a task couldn't be stopped
};

/// The program that hears of notices; nothing if none are asked for. Throws std::runtime_error if
/// it isn't there.
std::optional<std::string> notices_program(const Settings& settings);

/// The machine is about to go: somebody tells (EC2 a spot instance, an Auto Scaling group one that
/// it ends), through the helper program `agent-lb-aws watch`. All tasks are stopped then, and no
/// new one is started; a lifecycle hook is completed when the last of them is STOPPED.
class Notices {
 public:
    struct Parts {
        asio::any_io_executor executor;
        Clock& clock;
        Log& log;
        Supervisor& supervisor;
        helper::StartProgram start;
        std::string program;  ///< its path
    };
    Notices(Parts parts, NoticeWishes wishes);
    ~Notices();

    /// Listens for ever.
    awaitable<void> work();
    /// The tasks have been stopped: a hook that is to be completed is, within 5 s; the helper
    /// leaves.
    awaitable<void> finish();

 private:
    awaitable<void> listen();
    void heed(const helper::Answer& notice);
    awaitable<void> complete();
    awaitable<bool> all_stopped();

    Parts parts_;
    NoticeWishes wishes_;
    helper::Helper helper_;
    Gate completing_;
    std::set<std::string> heeded_;
    bool finishing_ = false;
};

}  // namespace lastcall
