#pragma once
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/clock.hpp"

// The life of a task, told once.
//
//   PENDING ──▶ RUNNING ──▶ DEACTIVATING ──▶ STOPPING ──▶ DEPROVISIONING ──▶ STOPPED
//
// PENDING: its command is about to be executed. RUNNING: it was executed; once its ports are
// listened on, its load balancers are told (never before). DEACTIVATING: it is leaving its load
// balancers, and waits until nobody is inside; a task without one skips this. STOPPING: it was
// signalled, and its whole process tree has until the stop timeout. DEPROVISIONING: what it leaves
// is tidied away. STOPPED: the main process is reaped, the tree is empty, the record is complete.
//
// A status only moves forward, and so does the desired status (RUNNING, then STOPPED): a stop
// cannot be taken back. A task that SIGKILL couldn't end stays STOPPING. One that exits by itself
// goes the same way, with nothing to wait for. A restart is a new task of the same name.
namespace lastcall {

enum class TaskStatus { pending, running, deactivating, stopping, deprovisioning, stopped };

/// ECS's reasons for a stop (API_Task, `stopCode`).
enum class StopCode {
    user_initiated,
    essential_container_exited,
    task_failed_to_start,
    spot_interruption,
    termination_notice,
    service_scheduler_initiated,
};

/// Who gets the stop signal; SIGKILL always takes the tree.
enum class SignalScope { main, group, tree };

/// What satisfies a drain (DESIGN section 1).
enum class DrainMode { closed, strict, idle, none };

/// Whether anybody could tell how a process ended.
enum class Known {
    exactly,
    unseen,  ///< no: it ended while no agent was there
    unkept,  ///< no: it wasn't our child any more, and the kernel didn't keep it for us
};

/// How a process ended: by a code or by a signal, never folded into 128+n until the very edge.
struct ExitStatus {
    int code = 0;    ///< 0 to 255; meaningful if `signal` is 0
    int signal = 0;  ///< the signal that ended it, or 0
    bool core_dumped = false;
    bool out_of_memory = false;  ///< by the OOM killer
    Known known = Known::exactly;
    bool is_known() const { return known == Known::exactly; }
    friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

/// Who a command runs as.
struct Identity {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;  ///< supplementary ones: all that it has
};

/// One supervised process tree.
struct ContainerDefinition {
    std::string name;
    std::vector<std::string> command;
    std::vector<std::string> environment;  ///< "NAME=value", the whole of it
    std::string working_directory;         ///< empty: the agent's own
    std::string log_file;                  ///< empty: the agent's own stdout and stderr
    bool essential = true;
    std::vector<std::string> depends_on;
    std::optional<Clock::duration> stop_timeout;  ///< wins over the task's
    std::optional<Identity> identity;             ///< none: the agent's own
    bool is_hook = false;  ///< runs beside the task: only what it forks itself is its own
};

/// How a task is to be stopped, as configured. A request may differ (StopRequest).
struct StopSettings {
    Clock::duration deregistration_delay = 300s;  ///< how long DRAIN may last
    bool delay_is_chosen = false;                 ///< else a load balancer's own counts
    Clock::duration deregister_timeout = 30s;     ///< how long DEREGISTER may be retried
    DrainMode drain = DrainMode::closed;
    Clock::duration drain_idle = 5s;              ///< quiet for so long is at rest
    std::optional<int> drain_signal;              ///< sent when DEREGISTER has ended
    std::optional<Clock::duration> stop_timeout;  ///< configured; else 30 s or rule 6
    std::optional<int> stop_signal;               ///< else the signal that asked, else TERM
    SignalScope signal_scope = SignalScope::main;
    std::optional<Clock::duration> stop_deadline;  ///< until somebody else kills us
    std::string pre_stop;                          ///< a shell command, or empty
    Clock::duration pre_stop_timeout = 10s;
};

struct TaskDefinition {
    std::string name;
    std::vector<ContainerDefinition> containers;
    std::vector<std::string> load_balancers;  ///< URLs
    std::vector<std::uint16_t> ports;         ///< whose connections count; empty: named or found
    StopSettings stop;
};

/// What `ps` and the journal know of a task, its containers included.
struct ContainerState {
    std::string name;
    int pid = 0;
    std::uint64_t start_time = 0;  ///< of that process, in ticks since boot: no other has both
    std::string cgroup;            ///< made for it; empty: none
    std::optional<ExitStatus> exit;
    std::string reason;  ///< "CannotStartContainerError: …"; empty when there is nothing to tell
};
struct TaskState {
    std::string id;  ///< random, unique for ever; what LASTCALL_TASK marks the tree with
    TaskDefinition definition;
    TaskStatus last_status = TaskStatus::pending;
    TaskStatus desired_status = TaskStatus::running;
    std::optional<StopCode> stop_code;
    std::string stopped_reason;
    std::vector<ContainerState> containers;
    std::vector<std::string> registered;  ///< the load balancers that were told of it
    Clock::utc_time created_at{};
    std::optional<Clock::utc_time> started_at, stopping_at, stopped_at;
};

/// ECS's spellings: "DEACTIVATING", "UserInitiated", "closed", …
std::string_view to_string(TaskStatus status);
std::string_view to_string(StopCode code);
std::string_view to_string(DrainMode mode);
std::string_view to_string(SignalScope scope);
std::optional<DrainMode> drain_mode(std::string_view text);
std::optional<SignalScope> signal_scope(std::string_view text);

/// "SIGTERM" for 15, "SIGRTMIN+3", "42" for what has no name.
std::string signal_name(int number);
/// The number of "TERM", "SIGTERM", "sigterm", "15" or "RTMIN+3"; nullopt for what is none (1 to
/// 64).
std::optional<int> signal_number(std::string_view text);

/// Why `name` can't be a task's name, or nothing. A name is 1 to 255 of [A-Za-z0-9_.-], starts with
/// a letter or digit: it becomes a file's name and part of a URL path.
std::optional<std::string> name_trouble(std::string_view name);

}  // namespace lastcall
