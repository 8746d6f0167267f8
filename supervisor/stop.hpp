#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/drain.hpp"
#include "supervisor/ending.hpp"
#include "supervisor/process.hpp"
#include "supervisor/stop_request.hpp"

namespace lastcall {

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
    std::optional<std::int64_t> connections;  ///< left to wait for now, while draining …
    std::optional<std::int64_t> open;         ///< … and all that are open, at rest or not
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
    /// Goes on with a stop that outlived its agent: in its phase, with the time that was left.
    Stop(StopScene scene, StopRecord earlier);
    awaitable<StopRecord> run();
    /// A later request: it may only shorten.
    void join(const StopRequest& request);
    StopProgress progress() const;

 private:
    Stop(StopScene scene, StopRecord record, const StopRequest* first);
    struct One {
        One(const Ending::Scene& scene, const StoppingContainer& container,
            asio::any_io_executor executor)
            : ending(scene, container), over(std::move(executor)) {}
        Ending ending;
        Event over;
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
    awaitable<void> end(std::size_t index);
    awaitable<void> clean_up(const StoppingContainer& container);
    void became(TaskStatus status);
    void keep_plan();
    void note_exit(const std::string& container, const ExitStatus& status);

    StopScene scene_;
    StopLimits limits_;
    Recorder recorder_;
    Event gone_;  ///< an essential container has exited
    Leaving leaving_;
    Gate watching_;
    std::vector<std::unique_ptr<One>> endings_;  ///< by container
    bool exited_by_itself_;
};

}  // namespace lastcall
