#include <fmt/format.h>
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

namespace {

Metadata metadata_of(const Context& context) {
    Metadata shape;
    shape.Cluster = context.configuration.settings.cluster;
    shape.Version = LASTCALL_VERSION;
    shape.pid = ::getpid();
    shape.mode = context.mode;
    shape.journal = describe(context.journal_health);
    shape.startedAt = context.started_at;
    shape.upgradeFailure = context.upgrade_failure;
    if (context.silent) {
        shape.silentMs = std::chrono::duration<double, std::milli>(*context.silent).count();
    }
    return shape;
}

}  // namespace

awaitable<Response> show_metadata(Context& context, Call) {
    co_return reply(200, to_json(metadata_of(context)));
}

awaitable<Response> upgrade_agent(Context& context, Call call) {
    if (!context.upgrade) {
        throw Conflict("cannot upgrade: this agent wraps one command and ends with it");
    }
    const std::string& body = call.request.body;
    const auto request = body.empty() ? UpgradeRequest() : from_json<UpgradeRequest>(parse(body));
    const std::string binary = request.binary.value_or("");
    if (request.binary && (!binary.starts_with('/') || binary.find('\0') != binary.npos)) {
        throw BadRequest(fmt::format("'binary' must be an absolute path, not '{}'", binary));
    }
    auto upgrading = context.upgrade(binary);
    co_await std::move(upgrading);
    co_return reply(202, to_json(metadata_of(context)));
}

awaitable<Response> show_config(Context& context, Call) {
    SettingList list;
    for (const SettingRow& each : context.configuration.rows) {
        list.settings.push_back(describe(each));
    }
    co_return reply(200, to_json(list));
}

}  // namespace lastcall::api
