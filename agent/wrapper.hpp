#pragma once
#include <memory>
#include <string>

#include "agent/house.hpp"
#include "agent/terminal.hpp"

namespace lastcall {

/// A parent whose death is to kill us, and all that is below us: for what SIGKILL itself can't do.
struct DeadlyParent {
    bool kills = false;
    pid_t id = 0;
};

/// `agent run` while its command runs: what a signal to the agent comes to.
class Wrapper {
 public:
    /// All of it outlives the wrapper.
    Wrapper(House& house, const Settings& settings, Terminal& terminal, DeadlyParent parent)
        : house_(house),
          settings_(settings),
          terminal_(terminal),
          parent_(parent),
          stops_(settings.stop.stop_signal) {}

    /// To the end of the command, its tree and its stop.
    awaitable<void> work(TaskDefinition definition, std::string id,
                         std::unique_ptr<Process> process);
    const StopRecord& record() const { return record_; }

 private:
    awaitable<void> settle();
    void heard(const signalfd_siginfo& signal);
    void forward(const signalfd_siginfo& signal, int as);
    bool is_alive() const { return house_.reaper.is_ours(process_->id()); }
    bool is_being_stopped();

    House& house_;
    const Settings& settings_;
    Terminal& terminal_;
    const DeadlyParent parent_;
    StopSignals stops_;
    Process* process_ = nullptr;
    StopRecord record_;
};

}  // namespace lastcall
