#pragma once
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/await.hpp"
#include "supervisor/stop.hpp"
#include "supervisor/surroundings.hpp"
#include "supervisor/task.hpp"
#include "supervisor/watch.hpp"

namespace lastcall {

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

/// One task, from its launch to the day when `ps` forgets it. One coroutine lives it; requests only
/// leave a wish with it.
class Life {
 public:
    /// Throws BadRequest for a load balancer's URL that can't be understood.
    Life(Surroundings& around, TaskState initial);
    /// One that an earlier agent has left. Never throws: what isn't understood is said.
    Life(Surroundings& around, Remnant remnant);
    Life(const Life&) = delete;
    Life& operator=(const Life&) = delete;

    /// Asks its load balancers whether they would do what will be asked. Throws BadRequest if one
    /// never would; one that can't be reached now is a warning.
    awaitable<void> introduce();
    /// Launches its containers, or takes the one that was launched already: RUNNING. Throws what
    /// Launcher throws; the task is then STOPPED.
    void launch();
    void launched(std::unique_ptr<Process> process);
    /// It never ran.
    void failed_to_start(const std::string& why);

    /// From RUNNING to STOPPED, and until it is forgotten.
    awaitable<void> live();
    /// What escaped `live`: the last of its words.
    void failed(const std::string& why);

    /// Starts a stop, or joins the one in progress. Never waits.
    void request_stop(const StopRequest& request);
    /// Somebody asked for a stop before it was launched.
    bool is_unwanted() const { return early_wish_.has_value(); }
    void signal(int number);
    /// The journal knows of it, or is too slow or too broken to; that is said.
    awaitable<void> record();

    TaskView view();
    TaskBrief brief() const;
    const TaskState& state() const { return state_; }
    bool has_ended() const { return ended_.is_set(); }
    awaitable<void> end() { return ended_.wait(); }
    const StopRecord& last_stop() const { return record_; }

 private:
    Life(Surroundings& around, TaskState initial, std::vector<Membership> memberships);
    awaitable<void> introduce_to(Watch& watch);
    void met(const Watch& watch);
    void began();
    void take_over(StopRecord stop);
    awaitable<void> run();
    awaitable<void> register_with(Watch& watch);
    awaitable<void> watch_exit(Process& process);
    StopScene scene(bool by_itself, std::string id);
    void prepare_stop(const StopRequest& request);
    void note_ends();
    void note();

    Surroundings& around_;
    TaskState state_;
    TaskStatus recorded_;
    std::vector<std::unique_ptr<Process>> processes_;
    std::unique_ptr<Evidence> evidence_;
    std::vector<Watch> watches_;
    std::unique_ptr<Stop> stop_;  ///< asked for, or going on
    std::optional<StopRequest> early_wish_;
    StopRecord record_;  ///< of the stop, when it has ended
    Event over_;         ///< somebody asked for a stop, or it ended by itself
    Event ended_;        ///< the record is complete
    Gate running_;       ///< what goes on until a stop begins
};

}  // namespace lastcall
