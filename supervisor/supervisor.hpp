#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "supervisor/await.hpp"
#include "supervisor/clock.hpp"
#include "supervisor/connections.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"
#include "supervisor/process.hpp"
#include "supervisor/stop.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// The caller is wrong: the text is for a human.
class BadRequest : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};
/// The name is taken by a task that isn't STOPPED.
class Conflict : public BadRequest {
 public:
    using BadRequest::BadRequest;
};
/// There is no task of that name.
class NoSuchTask : public BadRequest {
 public:
    using BadRequest::BadRequest;
};

/// Everything concrete that the supervisor works with; chosen in agent/.
struct Surroundings {
    asio::any_io_executor executor;
    Clock& clock;
    Journal& journal;
    Log& log;
    Launcher& launcher;
    /// Understands a task's load balancer URLs. Throws BadRequest for one it can't.
    std::function<std::vector<Membership>(const TaskDefinition&)> memberships;
    /// The kernel's word on one task; `processes` are its containers' processes.
    std::function<std::unique_ptr<Evidence>(const TaskDefinition&, std::vector<Process*> processes)>
        evidence;
    /// A random id, unique for ever: 32 hex digits.
    std::function<std::string()> new_id;
    Clock::duration cleanup_wait = std::chrono::hours(3);  ///< a STOPPED task stays in `ps`
};

/// What `ps` shows of a task.
struct TaskView {
    TaskState state;
    std::optional<std::int64_t> connections;  ///< open now, if the kernel can tell
    std::set<std::uint16_t> ports;            ///< whose connections count, as far as known
    std::optional<StopProgress> stop;         ///< while it is being stopped
    std::vector<Survivor> survivors;          ///< of an unkillable one
};

/// A task in a few words, which ask the kernel nothing: for who looks at all of them often.
struct TaskBrief {
    /// What comes when the current wait of a stop is over, and in how long at the latest.
    struct Stopping {
        std::optional<Phase> next;
        std::optional<Clock::duration> next_in;
    };
    TaskStatus status = TaskStatus::running;
    const TaskDefinition* definition = nullptr;  ///< lives as long as the task
    std::optional<Stopping> stopping;
};

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
    /// Stops all tasks, side by side; refuses new ones from now on; returns when all have ended.
    awaitable<std::vector<StopRecord>> shut_down(StopRequest request);

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace lastcall
