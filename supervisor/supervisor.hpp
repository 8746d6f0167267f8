#pragma once
#include <memory>
#include <string>
#include <vector>

#include "supervisor/life.hpp"

namespace lastcall {

/// The set of tasks. One coroutine lives each task's life, inside one gate; requests only leave a
/// wish with it and wait, so a client that goes away cancels nothing.
class Supervisor {
 public:
    explicit Supervisor(Surroundings surroundings);
    ~Supervisor();

    /// Launches a task's containers; returns when they were executed. Throws BadRequest, Conflict,
    /// or what Launcher throws (the task is then STOPPED, TaskFailedToStart).
    awaitable<TaskView> start(TaskDefinition definition);
    /// The same for a process that was launched already.
    void start_with(TaskDefinition definition, std::string task_id,
                    std::unique_ptr<Process> process);
    /// Goes on with what an earlier agent left in the journal: its tasks are supervised as before,
    /// its stops go on in their phase with the time that was left. Before anything is started.
    awaitable<void> adopt();
    /// Starts a stop, or joins the one in progress and shortens it; never waits. A STOPPED task:
    /// no effect. Throws NoSuchTask.
    void request_stop(const std::string& name, const StopRequest& request);
    /// Waits for the end of the task's stop: the record of it. Throws NoSuchTask.
    awaitable<StopRecord> stopped(std::string name);
    /// Stop, then start again as it was defined. Throws as those do; std::runtime_error if it
    /// couldn't be stopped.
    awaitable<TaskView> restart(std::string name, StopRequest request);
    /// To the main process of every container. Throws NoSuchTask, or BadRequest if it isn't
    /// running.
    void signal(const std::string& name, int number);
    /// Forgets a STOPPED task. Throws NoSuchTask, or Conflict if it isn't STOPPED.
    void forget(const std::string& name);

    TaskView view(const std::string& name);
    std::vector<TaskView> views();
    std::vector<TaskBrief> briefs() const;
    /// No task is started from now on; `why` is what is said then: "the agent is shutting down".
    void refuse_new(std::string why);
    /// Stops all tasks, side by side; refuses new ones from now on; returns when all have ended.
    awaitable<std::vector<StopRecord>> shut_down(StopRequest request);

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace lastcall
