#include "agent/api/describe.hpp"

#include <algorithm>
#include <cmath>

#include "agent/config/secrets.hpp"
#include "agent/utc.hpp"

namespace lastcall::api {
namespace {

template <class Ports>
std::vector<std::int64_t> numbers(const Ports& of) {
    return {of.begin(), of.end()};
}

std::optional<std::string> unless_empty(const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
}

std::optional<std::string> text_of(const std::optional<Clock::utc_time>& at) {
    return at ? std::optional(utc_text(*at)) : std::nullopt;
}

template <class Word>
std::optional<std::string> spelling(const std::optional<Word>& word) {
    return word ? std::optional(std::string(to_string(*word))) : std::nullopt;
}

/// An exit is a code or a signal; the other one is none.
template <class Shape>
void set_exit(Shape& shape, const std::optional<ExitStatus>& exit) {
    if (!exit || !exit->is_known()) return;
    if (exit->signal != 0) {
        shape.signal = signal_name(exit->signal);
    } else {
        shape.exitCode = exit->code;
    }
}

double to_microseconds(double milliseconds) { return std::round(milliseconds * 1000) / 1000; }

Survivor describe(const lastcall::Survivor& survivor) {
    return {survivor.pid, survivor.command, std::string(1, survivor.state), survivor.wait_channel};
}

json::object describe(const Detail& detail) {
    json::object object;
    for (const auto& [key, value] : detail.entries()) {
        const auto add = [&object, &name = key](const auto& fact) {
            if constexpr (std::is_same_v<std::decay_t<decltype(fact)>, double>) {
                object[name] = to_microseconds(fact);
            } else {
                object[name] = fact;
            }
        };
        std::visit(add, value);
    }
    return object;
}

Phase describe(const PhaseRecord& record) {
    Phase shape;
    shape.phase = to_string(record.phase);
    shape.container = unless_empty(record.container);
    shape.startedAt = utc_text(record.started_at);
    shape.durationMs = milliseconds(record.duration);
    shape.outcome = spelling(record.outcome);
    shape.detail = describe(record.detail);
    return shape;
}

ContainerEnd describe(const lastcall::ContainerEnd& end) {
    ContainerEnd shape;
    shape.name = end.name;
    set_exit(shape, end.exit);
    if (end.exit && end.exit->core_dumped) shape.coreDumped = true;
    shape.killedBy = spelling(end.killed_by);
    shape.reason = unless_empty(end.reason);
    return shape;
}

template <class To, class From>
std::vector<To> describe_all(const std::vector<From>& items) {
    std::vector<To> shapes;
    for (const From& each : items) shapes.push_back(describe(each));
    return shapes;
}

Container describe(const ContainerDefinition& definition, const TaskState& task) {
    Container shape;
    shape.name = definition.name;
    shape.command = definition.command;
    shape.logFile = unless_empty(definition.log_file);
    const auto& states = task.containers;
    const auto state = std::find_if(states.begin(), states.end(), [&definition](const auto& each) {
        return each.name == definition.name;
    });
    if (state == states.end()) return shape;
    // Once it was reaped, its pid may be a stranger's.
    if (state->pid != 0 && !state->exit) shape.pid = state->pid;
    set_exit(shape, state->exit);
    shape.reason = unless_empty(state->reason);
    return shape;
}

}  // namespace

double milliseconds(Clock::duration duration) {
    return to_microseconds(std::chrono::duration<double, std::milli>(duration).count());
}

Stop describe(const StopRecord& record) {
    Stop shape;
    shape.id = record.id;
    shape.task = record.task;
    shape.stopCode = to_string(record.stop_code);
    shape.stoppedReason = record.stopped_reason;
    shape.requestedBy = {record.requested_by.uid, record.requested_by.pid, record.requested_by.via};
    shape.requestedAt = utc_text(record.requested_at);
    shape.stoppedAt = text_of(record.stopped_at);
    shape.durationMs = milliseconds(record.duration);
    shape.outcome = spelling(record.outcome);
    shape.survivors = static_cast<std::int64_t>(record.survivors.size());
    shape.survivorDetails = describe_all<Survivor>(record.survivors);
    shape.deregistrationDelayMs = milliseconds(record.deregistration_delay);
    shape.savedMs = milliseconds(record.saved);
    shape.containers = describe_all<ContainerEnd>(record.containers);
    shape.phases = describe_all<Phase>(record.phases);
    return shape;
}

Progress describe(const StopProgress& progress) {
    Progress shape;
    shape.stop = describe(progress.record);
    shape.connections = progress.connections;
    shape.waitingFor = progress.waiting_for;
    shape.next = spelling(progress.next);
    if (progress.next_in) shape.nextInMs = milliseconds(*progress.next_in);
    return shape;
}

Task describe(const TaskView& view) {
    const TaskState& state = view.state;
    const TaskDefinition& definition = state.definition;
    Task shape;
    shape.name = definition.name;
    shape.id = state.id;
    shape.lastStatus = to_string(state.last_status);
    shape.desiredStatus = to_string(state.desired_status);
    shape.stopCode = spelling(state.stop_code);
    shape.stoppedReason = unless_empty(state.stopped_reason);
    shape.createdAt = utc_text(state.created_at);
    shape.startedAt = text_of(state.started_at);
    shape.stoppingAt = text_of(state.stopping_at);
    shape.stoppedAt = text_of(state.stopped_at);
    for (const ContainerDefinition& each : definition.containers) {
        shape.containers.push_back(describe(each, state));
    }
    for (const std::string& url : definition.load_balancers) {
        shape.loadBalancers.push_back(without_secrets(url));
    }
    shape.ports = view.ports.empty() ? numbers(definition.ports) : numbers(view.ports);
    shape.connections = view.connections;
    if (definition.stop.stop_timeout) {
        shape.stopTimeoutMs = milliseconds(*definition.stop.stop_timeout);
    } else if (!definition.stop.stop_deadline) {
        shape.stopTimeoutMs = milliseconds(30s);  // ECS_CONTAINER_STOP_TIMEOUT's default
    }
    shape.deregistrationDelayMs = milliseconds(definition.stop.deregistration_delay);
    if (view.stop) shape.stopping = describe(*view.stop);
    shape.survivors = describe_all<Survivor>(view.survivors);
    return shape;
}

Setting describe(const SettingRow& row) {
    return {std::string(row.name), std::string(row.flag), row.value, std::string(row.source)};
}

}  // namespace lastcall::api
