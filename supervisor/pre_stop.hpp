#pragma once
#include <string>

#include "supervisor/limits.hpp"
#include "supervisor/process.hpp"
#include "supervisor/recorder.hpp"

namespace lastcall {

/// The command that runs before the stop signal, if one is configured. It runs as the task's first
/// container does; what it leaves behind goes with it.
class PreStop {
 public:
    struct Scene {
        Clock& clock;
        Launcher& launcher;
        Recorder& recorder;
        StopLimits& limits;
        const TaskState& task;
    };
    explicit PreStop(Scene scene) : scene_(scene) {}

    /// Runs it, and records the phase. A hook that can't be run is told, and the stop goes on.
    awaitable<void> run();

 private:
    awaitable<void> run(std::size_t phase, bool goes_on);
    awaitable<void> wait_for(Process& process, std::size_t phase);

    Scene scene_;
};

}  // namespace lastcall
