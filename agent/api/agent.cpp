#include <unistd.h>

#include "agent/api/describe.hpp"
#include "agent/api/handlers.hpp"

// The agent itself.
namespace lastcall::api {

awaitable<Response> show_health(Context& context, Call) {
    // The agent answers: a journal in trouble is no reason to restart it.
    json::object shape{{"status", "ok"}};
    const JournalState journal = describe(context.journal_health);
    if (journal.status != "ok") shape["journal"] = journal.status;
    co_return reply(200, shape);
}

awaitable<Response> show_metadata(Context& context, Call) {
    Metadata shape;
    shape.Cluster = context.configuration.settings.cluster;
    shape.Version = LASTCALL_VERSION;
    shape.pid = ::getpid();
    shape.mode = context.mode;
    shape.journal = describe(context.journal_health);
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
