#pragma once
#include <optional>
#include <string>
#include <vector>

#include "supervisor/limits.hpp"
#include "supervisor/log.hpp"
#include "supervisor/process.hpp"
#include "supervisor/recorder.hpp"

namespace lastcall {

/// One container of a task that is being stopped.
struct StoppingContainer {
    std::string name;
    Process& process;
    bool essential = true;
    std::optional<Clock::duration> stop_timeout;  ///< its own; wins over the task's
    std::vector<std::size_t> after;  ///< those that depend on it: they must have ended first
};

/// One container's end: SIGTERM, its timeout, SIGKILL.
class Ending {
 public:
    struct Scene {
        Clock& clock;
        Log& log;
        Recorder& recorder;
        StopLimits& limits;
        int stop_signal = 0;
        SignalScope scope = SignalScope::main;
    };
    Ending(Scene scene, const StoppingContainer& container);

    /// Returns when its tree is empty, or SIGKILL couldn't help.
    awaitable<void> run();
    /// The main process has exited. It may be said more than once.
    void exited(ExitStatus status);
    /// How it ended, and by whom.
    ContainerEnd account() const;

    bool was_signalled() const { return signalled_; }
    bool was_killed() const { return killed_; }

    /// `number`, and SIGCONT after it: a stopped process can't handle a signal. Never throws.
    static void signal(Log& log, Process& process, int number, SignalScope scope);

 private:
    awaitable<bool> leave_on_signal();
    awaitable<bool> tree_leaves(std::size_t phase);
    awaitable<bool> kill();
    bool left_before() const;
    bool any_left() const;
    std::size_t count_left() const;

    Scene scene_;
    const StoppingContainer& container_;
    std::optional<ExitStatus> exit_;
    bool signalled_ = false, killed_ = false;
    bool exited_signalled_ = false, exited_killed_ = false;  ///< what we had sent when it exited
};

}  // namespace lastcall
