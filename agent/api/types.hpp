#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// The shapes of the control API, shared by agent/ and cli/: exactly the JSON of docs/openapi.yaml,
// in ECS's spelling. Times are UTC text with microseconds ("2026-01-31T12:00:00.000000Z"),
// durations milliseconds with fraction. What is asked for, what is sent, what comes back:
//
//   GET    /healthz                               {"status": "ok"}, "journal" if that isn't
//   GET    /v1/metadata                           Metadata
//   POST   /v1/upgrade              UpgradeRequest 202 Metadata, as it was: a new image follows
//   GET    /v1/config                             SettingList
//   GET    /v1/tasks                              TaskList
//   POST   /v1/tasks                RunRequest    201 Task: it was executed
//   GET    /v1/tasks/{task}                       Task; `stopping` while it is being stopped
//   DELETE /v1/tasks/{task}                       Task, as it was
//   POST   /v1/tasks/{task}/stop    StopRequest   Stop, once STOPPED; ?wait=false: 202 Progress
//   POST   /v1/tasks/{task}/restart StopRequest   Task, the new one
//   POST   /v1/tasks/{task}/signal  SignalRequest Task
//   GET    /v1/tasks/{task}/stops                 StopList; ?limit=100
//   GET    /v1/stops                              StopList; ?limit=100
//
// and a Problem for all that fails: 400, 404 (no such task), 409 (not in its state), 422 (the
// command can't be executed), 500 (with `stop` when SIGKILL didn't help).
namespace lastcall::api {

namespace json = boost::json;

struct Requester {
    std::optional<std::int64_t> uid, pid;
    std::string via;
};

struct Survivor {
    std::int64_t pid = 0;
    std::string command, state, waitChannel;
};

struct Phase {
    std::string phase;                     ///< "DRAIN"
    std::optional<std::string> container;  ///< SIGTERM and SIGKILL name theirs
    std::string startedAt;
    double durationMs = 0;
    std::optional<std::string> outcome;  ///< none while it goes on
    json::object detail;
};

struct ContainerEnd {
    std::string name;
    std::optional<std::int64_t> exitCode;
    std::optional<std::string> signal;    ///< "SIGKILL", if one ended it
    std::optional<bool> coreDumped;       ///< true, or left out
    std::optional<std::string> killedBy;  ///< "SIGTERM", "SIGKILL", "OomKiller", "SomebodyElse"
    std::optional<std::string> reason;
};

/// The record of a stop; of one still going on if `outcome` is none.
struct Stop {
    std::string id, task, stopCode, stoppedReason;
    Requester requestedBy;
    std::string requestedAt;
    std::optional<std::string> stoppedAt;
    double durationMs = 0;
    std::optional<std::string> outcome;
    std::int64_t survivors = 0;
    std::vector<Survivor> survivorDetails;  ///< left out when there are none
    double deregistrationDelayMs = 0, savedMs = 0;
    std::vector<ContainerEnd> containers;
    std::vector<Phase> phases;
};

/// A stop in progress: what `agentctl stop` shows live.
struct Progress {
    Stop stop;
    std::optional<std::int64_t> connections;
    std::string waitingFor;
    std::optional<std::string> next;  ///< the phase that comes when this wait is over …
    std::optional<double> nextInMs;   ///< … at the latest in so long
};

struct Container {
    std::string name;
    std::optional<std::int64_t> pid, exitCode;
    std::optional<std::string> signal, reason;
    std::vector<std::string> command;
    std::optional<std::string> logFile;
};

struct Task {
    std::string name, id, lastStatus, desiredStatus;
    std::optional<std::string> stopCode, stoppedReason;
    std::string createdAt;
    std::optional<std::string> startedAt, stoppingAt, stoppedAt;
    std::vector<Container> containers;
    std::vector<std::string> loadBalancers;
    std::vector<std::int64_t> ports;
    std::optional<std::int64_t> connections;
    std::optional<double> stopTimeoutMs;  ///< none: half of what the stop deadline leaves
    double deregistrationDelayMs = 0;
    std::optional<Progress> stopping;
    std::vector<Survivor> survivors;
};

/// What is left out is the agent's own setting; durations are text in Go's form or
/// bare seconds, as in the environment.
struct RunRequest {
    std::string name;
    std::vector<std::string> command;
    std::vector<std::string> environment;  ///< "NAME=value", added to the agent's
    std::string workingDirectory;
    std::vector<std::int64_t> ports;
    std::optional<std::vector<std::string>> loadBalancers;
    std::optional<std::string> stopTimeout, deregistrationDelay, deregisterTimeout, drain,
        drainIdle, drainSignal, stopSignal, signalScope, stopDeadline, preStop, preStopTimeout;
};

/// All optional: no wishes, no body.
struct StopRequest {
    bool drain = true;
    bool force = false;
    std::optional<std::string> timeout, drainTimeout, signal, reason;
};

struct SignalRequest {
    std::string signal;  ///< "HUP", "SIGHUP" or "1"
};

struct Setting {
    std::string name, flag, value,
        source;  ///< source: "default", "environment", "flag", "load balancer"
};

/// How the journal is. What is asked of an older agent has none.
struct JournalState {
    std::string status = "ok";                  ///< or "degraded"
    std::optional<std::string> trouble, since;  ///< "disk is full"
    std::int64_t waiting = 0;                   ///< records that are not on the disk
};

struct Metadata {
    std::string Cluster, Version;
    std::int64_t pid = 0;
    std::string mode;  ///< "serve" or "run"
    std::optional<JournalState> journal;
    std::string startedAt;           ///< of this image: an upgrade keeps the pid, and changes this
    std::optional<double> silentMs;  ///< if it began with an upgrade: nobody was served for so long
    std::optional<std::string> upgradeFailure;  ///< why the last upgrade that began came to nothing
};

/// All optional: no body, the binary from which the agent was started.
struct UpgradeRequest {
    std::optional<std::string> binary;  ///< an absolute path
};

struct TaskList {
    std::vector<Task> tasks;
    std::optional<JournalState> journal;
};

/// Newest first.
struct StopList {
    std::vector<Stop> stops;
};

struct SettingList {
    std::vector<Setting> settings;
};

/// RFC 9457, application/problem+json.
struct Problem {
    std::string type = "about:blank", title, detail;
    std::int64_t status = 0;
    std::optional<Stop> stop;  ///< an extension: the record of a stop that failed
};

/// What can't be understood, in one line: "'drain' must be true or false, not 7".
class Malformed : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// From and to JSON, for every shape above (those that stand alone: see the end of types.cpp). What
/// is none is left out, but `null` in a ContainerEnd. `from_json` throws Malformed: a value of the
/// wrong kind or out of range, a key that is missing; in a request also a key that nobody knows (in
/// an answer it is ignored, so that an older agentctl understands a newer agent).
template <class Shape>
json::value to_json(const Shape& shape);
template <class Shape>
Shape from_json(const json::value& value);

/// JSON as text and back. Numbers in plain decimals (1834.2, not 1.8342E3), always valid UTF-8:
/// bytes that are none become U+FFFD. `parse` throws Malformed.
std::string to_text(const json::value& value);
json::value parse(std::string_view text);

}  // namespace lastcall::api
