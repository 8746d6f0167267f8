#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "agent/api/routes.hpp"
#include "agent/api/types.hpp"

// What stands behind the routes, by resource: tasks.cpp, stops.cpp, agent.cpp. A handler may throw:
// `answer` makes a problem of it.
namespace lastcall::api {

/// A request whose route was found.
struct Call {
    Request request;
    std::string task;  ///< {task} of the path: a possible name
    std::map<std::string, std::string, std::less<>> parameters;
};

using Handler = awaitable<Response> (*)(Context& context, Call call);

struct Route {
    std::string_view method;
    std::string_view path;       ///< "/v1/tasks/{task}"
    std::string_view parameter;  ///< the one of the query that is known, or none
    Handler handler;
};
std::span<const Route> routes();

/// An answer with a shape in it.
Response reply(unsigned status, const json::value& shape);

awaitable<Response> show_health(Context& context, Call call);
awaitable<Response> show_metadata(Context& context, Call call);
awaitable<Response> upgrade_agent(Context& context, Call call);
awaitable<Response> show_config(Context& context, Call call);

awaitable<Response> list_tasks(Context& context, Call call);
awaitable<Response> show_task(Context& context, Call call);
awaitable<Response> start_task(Context& context, Call call);
awaitable<Response> signal_task(Context& context, Call call);
awaitable<Response> forget_task(Context& context, Call call);

awaitable<Response> stop_task(Context& context, Call call);
awaitable<Response> restart_task(Context& context, Call call);
awaitable<Response> list_stops_of_task(Context& context, Call call);
awaitable<Response> list_stops(Context& context, Call call);

}  // namespace lastcall::api
