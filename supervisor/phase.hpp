#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "supervisor/clock.hpp"
#include "supervisor/task.hpp"

// What a stop leaves behind: values, written by stop.cpp, kept by the journal, shown by the API.
namespace lastcall {

enum class Phase { deregister, drain, pre_stop, sigterm, sigkill, cleanup };
enum class Outcome { completed, timed_out, failed, skipped, interrupted };
enum class StopOutcome {
    graceful,    ///< everything left within its timeout
    killed,      ///< SIGKILL was needed
    exited,      ///< gone before it was signalled
    unkillable,  ///< SIGKILL didn't help: survivors are named
};

/// Facts about a phase by ECS-style key ("connectionsAtStart"), in the order they were learnt.
class Detail {
 public:
    using Value = std::variant<bool, std::int64_t, double, std::string>;
    void set(std::string_view key, Value value);
    const Value* find(std::string_view key) const;
    const std::vector<std::pair<std::string, Value>>& entries() const { return entries_; }
    friend bool operator==(const Detail&, const Detail&) = default;

 private:
    std::vector<std::pair<std::string, Value>> entries_;
};

struct PhaseRecord {
    Phase phase{};
    std::string container;  ///< empty: the whole task
    Clock::time_point started{};
    Clock::utc_time started_at{};
    Clock::duration duration{};      ///< so far, while there is no outcome
    std::optional<Outcome> outcome;  ///< none: still going on
    Detail detail;
};

struct Requester {
    std::optional<std::uint32_t> uid;
    std::optional<std::int32_t> pid;
    std::string via;  ///< "api", "signal", "exit", "shutdown"
    friend bool operator==(const Requester&, const Requester&) = default;
};
/// "uid 0, pid 4711, via api"
std::string to_string(const Requester& requester);

/// A process that outlived SIGKILL, or the stop.
struct Survivor {
    std::int32_t pid = 0;
    std::string command;
    char state = '?';          ///< as in /proc/PID/stat, proc(5)
    std::string wait_channel;  ///< as in /proc/PID/wchan; empty if unreadable
    friend bool operator==(const Survivor&, const Survivor&) = default;
};

/// "4711 'nfs-mount' D rpc_wait, 4712 …"
std::string to_string(const std::vector<Survivor>& survivors);

/// Who sent the signal that ended a main process.
enum class Killer {
    sigterm,        ///< we, in the phase SIGTERM
    sigkill,        ///< we, in the phase SIGKILL
    oom_killer,     ///< the kernel, for its memory
    somebody_else,  ///< or itself; not a fault, which nobody sends
};

struct ContainerEnd {
    std::string name;
    std::optional<ExitStatus> exit;
    std::optional<Killer> killed_by;
    std::string reason;  ///< "OutOfMemoryError: …"; empty when there is nothing to tell
};

/// A limit of a stop: when, why then, and who wanted it so.
struct PlannedLimit {
    Clock::time_point at = never;
    std::string why;
    std::optional<Requester> by;
    friend bool operator==(const PlannedLimit&, const PlannedLimit&) = default;
};

/// What was wished for a stop, by the first request and those that joined: all that another agent
/// needs to go on with it at the times planned.
struct StopPlan {
    PlannedLimit leave, signal, kill;  ///< StopLimits says of what
    Clock::duration deregistration_delay{};
    std::optional<Clock::duration> wanted_timeout;     ///< by the first request
    std::optional<Clock::duration> shortened_timeout;  ///< by a later one
    bool has_deadline = false;
    bool drains = true;
    std::optional<Requester> undrained_by, forced_by;
    std::optional<int> stop_signal;  ///< instead of the configured one
    friend bool operator==(const StopPlan&, const StopPlan&) = default;
};

struct StopRecord {
    std::string id;  ///< random, unique for ever
    std::string task;
    std::string task_id;
    StopCode stop_code = StopCode::user_initiated;
    std::string stopped_reason;
    Requester requested_by;
    Clock::time_point requested{};
    Clock::utc_time requested_at{};
    std::optional<Clock::utc_time> stopped_at;
    Clock::duration duration{};
    std::optional<StopOutcome> outcome;  ///< none: still going on
    std::vector<Survivor> survivors;
    Clock::duration deregistration_delay{};
    Clock::duration saved{};  ///< of the deregistration delay
    std::vector<ContainerEnd> containers;
    std::vector<PhaseRecord> phases;
    StopPlan plan;
};

std::string_view to_string(Phase phase);          // "DEREGISTER", …
std::string_view to_string(Outcome outcome);      // "timed_out", …
std::string_view to_string(StopOutcome outcome);  // "graceful", …
std::string_view to_string(Killer killer);        // "SIGTERM", "OomKiller", …
std::optional<Killer> killer(std::string_view text);

}  // namespace lastcall
