#include "agent/api/routes.hpp"

#include <fmt/format.h>

#include <system_error>

#include "agent/api/handlers.hpp"
#include "agent/api/target.hpp"

namespace lastcall::api {
namespace {

constexpr Route table[] = {
    {"GET", "/healthz", "", show_health},
    {"GET", "/v1/metadata", "", show_metadata},
    {"POST", "/v1/upgrade", "", upgrade_agent},
    {"GET", "/v1/config", "", show_config},
    {"GET", "/v1/tasks", "", list_tasks},
    {"POST", "/v1/tasks", "", start_task},
    {"GET", "/v1/tasks/{task}", "", show_task},
    {"DELETE", "/v1/tasks/{task}", "", forget_task},
    {"POST", "/v1/tasks/{task}/stop", "wait", stop_task},
    {"POST", "/v1/tasks/{task}/restart", "", restart_task},
    {"POST", "/v1/tasks/{task}/signal", "", signal_task},
    {"GET", "/v1/tasks/{task}/stops", "limit", list_stops_of_task},
    {"GET", "/v1/stops", "limit", list_stops},
};

constexpr std::string_view placeholder = "{task}";

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& segments) {
    if (pattern.size() != segments.size()) return false;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] != placeholder && pattern[i] != segments[i]) return false;
    }
    return true;
}

std::string task_in(const std::vector<std::string>& pattern,
                    const std::vector<std::string>& segments) {
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] != placeholder) continue;
        if (const auto trouble = name_trouble(segments[i])) throw BadRequest(*trouble);
        return segments[i];
    }
    return {};
}

void check_parameters(const Call& call, const Route& route) {
    for (const auto& [name, value] : call.parameters) {
        if (name == route.parameter) continue;
        const std::string known =
            route.parameter.empty() ? "none is known" : fmt::format("'{}' is", route.parameter);
        throw BadRequest(fmt::format("the parameter '{}' is unknown here; {}", name, known));
    }
}

/// A request's route; none, and why.
struct Found {
    const Route* route = nullptr;
    Response refusal;
};

/// Tells `call` its task and parameters. Throws BadRequest.
Found find_route(Call& call) {
    const auto segments = segments_of(call.request.path);
    std::string allowed;
    for (const Route& each : table) {
        const auto pattern = segments_of(each.path);
        if (!matches(pattern, segments)) continue;
        if (each.method != call.request.method) {
            allowed += (allowed.empty() ? "" : ", ") + std::string(each.method);
            continue;
        }
        call.task = task_in(pattern, segments);
        call.parameters = parameters_of(call.request.query);
        check_parameters(call, each);
        return {&each, {}};
    }
    const Request& request = call.request;
    if (allowed.empty()) {
        return {nullptr, problem(404, fmt::format("there is nothing at '{}'", request.path))};
    }
    Found found;
    found.refusal = problem(405, fmt::format("'{}' can't be done to '{}', only {}", request.method,
                                             request.path, allowed));
    found.refusal.headers.emplace_back("Allow", allowed);
    return found;
}

/// The problem that the exception being handled is (DESIGN section 7).
Response problem_of_exception(bool changes) {
    try {
        throw;
    } catch (const NoSuchTask& error) {
        return problem(404, error.what());
    } catch (const Conflict& error) {
        return problem(409, error.what());
    } catch (const BadRequest& error) {
        return problem(400, error.what());
    } catch (const Malformed& error) {
        return problem(400, error.what());
    } catch (const std::system_error& error) {  // the launcher: the kernel won't have it
        return problem(changes ? 422 : 500, error.what());
    } catch (...) {
        return problem(500, failure_text());
    }
}

}  // namespace

std::span<const Route> routes() { return table; }

Response reply(unsigned status, const json::value& shape) {
    Response response;
    response.status = status;
    response.body = to_text(shape);
    return response;
}

awaitable<Response> answer(Context& context, Request request) {
    const bool changes = request.method == "POST";
    Call call;
    call.request = std::move(request);
    try {
        Found found = find_route(call);
        if (!found.route) co_return std::move(found.refusal);
        auto handling = found.route->handler(context, std::move(call));
        Response response = co_await std::move(handling);
        co_return response;
    } catch (...) {  // one of the four places where failures end: a request's is its answer
        co_return problem_of_exception(changes);
    }
}

}  // namespace lastcall::api
