#include <fmt/format.h>

#include <limits>

#include "agent/api/describe.hpp"
#include "agent/api/handlers.hpp"

namespace lastcall::api {
namespace {

/// The kernel ends its strings at the first NUL: what comes after it would be lost silently.
void check_text(std::string_view key, const std::string& text) {
    if (text.find('\0') == text.npos) return;
    throw BadRequest(fmt::format("'{}' can't have a NUL character in it", key));
}

/// What a definition of any agent must have.
void check(const RunRequest& request) {
    if (const auto trouble = name_trouble(request.name)) throw BadRequest(*trouble);
    if (request.command.empty() || request.command.front().empty()) {
        throw BadRequest("'command' must name a program, not nothing");
    }
    for (const std::string& each : request.command) check_text("command", each);
    for (const std::string& each : request.environment) {
        check_text("environment", each);
        const auto equals = each.find('=');
        if (equals == 0 || equals == each.npos) {
            throw BadRequest(
                fmt::format("'environment' must be a list of NAME=value, not '{}'", each));
        }
    }
    check_text("workingDirectory", request.workingDirectory);
    for (const std::int64_t port : request.ports) {
        if (port < 1 || port > std::numeric_limits<std::uint16_t>::max()) {
            throw BadRequest(fmt::format("'ports' must be 1 to 65535, not {}", port));
        }
    }
}

}  // namespace

awaitable<Response> list_tasks(Context& context, Call) {
    TaskList list;
    for (const TaskView& each : context.supervisor.views()) list.tasks.push_back(describe(each));
    list.journal = describe(context.journal_health);
    co_return reply(200, to_json(list));
}

awaitable<Response> show_task(Context& context, Call call) {
    co_return reply(200, to_json(describe(context.supervisor.view(call.task))));
}

awaitable<Response> start_task(Context& context, Call call) {
    if (context.mode != "serve") {
        throw Conflict(
            "cannot start a task: this agent wraps one command, `agent serve` takes more");
    }
    const auto request = from_json<RunRequest>(parse(call.request.body));
    check(request);
    auto definition = context.define(request);
    auto starting = context.supervisor.start(std::move(definition));
    const TaskView view = co_await std::move(starting);
    Response response = reply(201, to_json(describe(view)));
    response.headers.emplace_back("Location", "/v1/tasks/" + request.name);
    co_return response;
}

awaitable<Response> signal_task(Context& context, Call call) {
    const auto request = from_json<SignalRequest>(parse(call.request.body));
    const auto number = signal_number(request.signal);
    if (!number) {
        throw BadRequest(
            fmt::format("'signal' must be a signal's name or number (HUP, SIGHUP, 1), not '{}'",
                        request.signal));
    }
    context.supervisor.signal(call.task, *number);
    co_return reply(200, to_json(describe(context.supervisor.view(call.task))));
}

awaitable<Response> forget_task(Context& context, Call call) {
    const TaskView view = context.supervisor.view(call.task);
    context.supervisor.forget(call.task);
    co_return reply(200, to_json(describe(view)));
}

}  // namespace lastcall::api
