#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/drain.hpp"
#include "supervisor/process.hpp"
#include "supervisor/stop_request.hpp"

namespace lastcall {

/// One container of a task that is being stopped.
struct StoppingContainer {
    std::string name;
    Process& process;
    bool essential = true;
    std::optional<Clock::duration> stop_timeout;  ///< its own; wins over the task's
    std::vector<std::size_t> after;  ///< those that depend on it: they must have ended first
};

/// What a stop works with. All of it outlives the stop.
struct StopScene {
    asio::any_io_executor executor;
    Clock& clock;
    Journal& journal;
    Log& log;
    Launcher& launcher;  ///< for PRE_STOP
    Evidence& evidence;
    TaskState& task;             ///< its last_status moves forward as the story goes
    std::vector<Watch> watches;  ///< the load balancers to leave; none: no DEREGISTER, no DRAIN
    std::vector<StoppingContainer> containers;
    std::string id;  ///< the stop's own
};

/// How a stop is going: what `stop` on a terminal shows.
struct StopProgress {
    StopRecord record;
    std::optional<std::int64_t> connections;  ///< left now, while draining
    std::string waiting_for;                  ///< "3 in flight at haproxy:…", for people
    std::optional<Phase> next;                ///< what comes when the current wait is over …
    std::optional<Clock::duration> next_in;   ///< … at the latest in so long
};

/// One stop of one task. `run` tells the story, once; meanwhile `join` may shorten it.
///
/// Whatever goes wrong on the way (a load balancer, the journal, the disk, an exception) ends in
/// the record: SIGTERM and SIGKILL come at the times planned all the same.
class Stop {
 public:
    Stop(StopScene scene, const StopRequest& first);
    awaitable<StopRecord> run();
    /// A later request: it may only shorten.
    void join(const StopRequest& request);
    StopProgress progress() const;

 private:
    struct Ending {
        std::optional<Clock::time_point> signalled, killed;
        Event over;
        bool gone = false;
    };

    awaitable<void> leave_load_balancers();
    awaitable<void> pre_stop();
    awaitable<void> end_containers();
    awaitable<void> clean_up();
    StopRecord finish();

    awaitable<void> whatever_happens(awaitable<void> step);
    void say_failure(std::string_view what);
    void watch_exits();
    awaitable<void> watch_exit(Process& process);
    awaitable<void> run_pre_stop(std::size_t phase);
    awaitable<void> end(std::size_t index);
    awaitable<bool> leave_on_signal(std::size_t index);
    awaitable<bool> tree_leaves(std::size_t index, std::size_t phase);
    awaitable<bool> kill(std::size_t index);
    void signal(Process& process, int number, SignalScope scope);
    void became(TaskStatus status);
    ContainerEnd how_it_ended(std::size_t index) const;

    StopScene scene_;
    StopLimits limits_;
    Recorder recorder_;
    Event gone_;  ///< an essential container has exited
    Leaving leaving_;
    Gate watching_;
    std::vector<std::unique_ptr<Ending>> endings_;
    std::vector<std::optional<ExitStatus>> exits_;
    int stop_signal_;
    bool exited_by_itself_;
};

}  // namespace lastcall
