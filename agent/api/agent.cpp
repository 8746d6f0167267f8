#include <unistd.h>

#include "agent/api/describe.hpp"
#include "agent/api/handlers.hpp"

// The agent itself.
namespace lastcall::api {

awaitable<Response> show_health(Context&, Call) {
    co_return reply(200, json::object{{"status", "ok"}});
}

awaitable<Response> show_metadata(Context& context, Call) {
    Metadata shape;
    shape.Cluster = context.configuration.settings.cluster;
    shape.Version = LASTCALL_VERSION;
    shape.pid = ::getpid();
    shape.mode = context.mode;
    co_return reply(200, to_json(shape));
}

awaitable<Response> show_config(Context& context, Call) {
    SettingList list;
    for (const SettingRow& each : context.configuration.rows) {
        list.settings.push_back(describe(each));
    }
    co_return reply(200, to_json(list));
}

}  // namespace lastcall::api
