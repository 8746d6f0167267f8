#include <fmt/format.h>

#include <charconv>

#include "agent/api/describe.hpp"
#include "agent/api/handlers.hpp"
#include "agent/config/duration.hpp"

namespace lastcall::api {
namespace {

constexpr std::size_t longest_reason = 1024;  // ECS's limit (FACTS section 1)
constexpr std::size_t usual_stops = 100, most_stops = 10'000;

std::optional<Clock::duration> duration_of(std::string_view key,
                                           const std::optional<std::string>& text) {
    if (!text) return std::nullopt;
    const auto duration = parse_duration(*text);
    if (duration && *duration >= 0s) return duration;
    throw BadRequest(
        fmt::format("'{}' must be a duration such as 30, 500ms or 1m30s, not '{}'", key, *text));
}

/// A person's wish, as the API's client wrote it down. No body is no particular wish.
lastcall::StopRequest wish_of(const Call& call, std::string usual_reason) {
    const std::string& body = call.request.body;
    const auto request = body.empty() ? StopRequest() : from_json<StopRequest>(parse(body));
    lastcall::StopRequest wish;
    wish.code = StopCode::user_initiated;
    wish.reason = request.reason.value_or(std::move(usual_reason));
    wish.by.uid = call.request.peer.uid;
    wish.by.pid = call.request.peer.pid;
    wish.by.via = "api";
    wish.drain = request.drain;
    wish.force = request.force;
    wish.stop_timeout = duration_of("timeout", request.timeout);
    wish.drain_timeout = duration_of("drainTimeout", request.drainTimeout);
    if (request.signal) {
        wish.signal = signal_number(*request.signal);
        if (!wish.signal) {
            throw BadRequest(
                fmt::format("'signal' must be a signal's name or number (HUP, SIGHUP, 1), not '{}'",
                            *request.signal));
        }
    }
    if (wish.reason.size() > longest_reason) {
        throw BadRequest(fmt::format("'reason' must be at most {} bytes long, not {}",
                                     longest_reason, wish.reason.size()));
    }
    return wish;
}

bool waits(const Call& call) {
    const auto wait = call.parameters.find("wait");
    if (wait == call.parameters.end() || wait->second == "true") return true;
    if (wait->second == "false") return false;
    throw BadRequest(fmt::format("'wait' must be true or false, not '{}'", wait->second));
}

std::size_t limit_of(const Call& call) {
    const auto limit = call.parameters.find("limit");
    if (limit == call.parameters.end()) return usual_stops;
    const std::string& text = limit->second;
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool fits = error == std::errc() && number >= 1 && number <= most_stops;
    if (fits && end == text.data() + text.size()) return number;
    throw BadRequest(fmt::format("'limit' must be 1 to {}, not '{}'", most_stops, text));
}

std::string text_of(const std::vector<lastcall::Survivor>& survivors) {
    std::string text;
    for (const auto& each : survivors) {
        text += fmt::format("{}{} {} (state {}", text.empty() ? "" : ", ", each.pid, each.command,
                            each.state);
        text += each.wait_channel.empty() ? ")" : fmt::format(", in {})", each.wait_channel);
    }
    return text;
}

/// The answer to somebody who has waited for the end of a stop.
Response outcome_of(const StopRecord& record, const std::string& task) {
    // The record of a task that was never executed is empty.
    if (record.id.empty()) throw Conflict(fmt::format("cannot stop '{}': it never started", task));
    const Stop shape = describe(record);
    const bool ended = record.outcome && record.outcome != StopOutcome::unkillable;
    if (ended) return reply(200, to_json(shape));
    Problem trouble;
    trouble.status = 500;
    trouble.title = reason_of(500);
    trouble.detail = record.outcome ? fmt::format("cannot stop '{}': SIGKILL didn't end {}", task,
                                                  text_of(record.survivors))
                                    : fmt::format("cannot stop '{}': the stop itself failed", task);
    trouble.stop = shape;
    Response response = reply(500, to_json(trouble));
    response.content_type = "application/problem+json";
    return response;
}

Response reply_with(const std::vector<StopRecord>& records) {
    StopList list;
    for (const StopRecord& each : records) list.stops.push_back(describe(each));
    return reply(200, to_json(list));
}

}  // namespace

awaitable<Response> stop_task(Context& context, Call call) {
    const bool wait = waits(call);
    const auto wish = wish_of(call, "Task stopped by user");
    context.supervisor.request_stop(call.task, wish);
    if (!wait) {
        const TaskView view = context.supervisor.view(call.task);
        if (view.stop) co_return reply(202, to_json(describe(*view.stop)));
    }
    auto ending = context.supervisor.stopped(call.task);
    const StopRecord record = co_await std::move(ending);
    co_return outcome_of(record, call.task);
}

awaitable<Response> restart_task(Context& context, Call call) {
    if (context.mode != "serve") {
        throw Conflict(fmt::format(
            "cannot restart '{}': this agent wraps one command and ends with it", call.task));
    }
    const auto wish = wish_of(call, "Task restarted by user");
    auto restarting = context.supervisor.restart(call.task, wish);
    const TaskView view = co_await std::move(restarting);
    co_return reply(200, to_json(describe(view)));
}

awaitable<Response> list_stops_of_task(Context& context, Call call) {
    auto asking = context.journal.stops(call.task, limit_of(call));
    const std::vector<StopRecord> records = co_await std::move(asking);
    // A task's records outlive it: only who never was is unknown.
    if (records.empty()) context.supervisor.view(call.task);
    co_return reply_with(records);
}

awaitable<Response> list_stops(Context& context, Call call) {
    auto asking = context.journal.stops(std::nullopt, limit_of(call));
    const std::vector<StopRecord> records = co_await std::move(asking);
    co_return reply_with(records);
}

}  // namespace lastcall::api
