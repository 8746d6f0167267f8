#include "cli/draw/timeline.hpp"

#include <boost/json/array.hpp>

#include "cli/client.hpp"
#include "cli/commands/commands.hpp"

namespace lastcall::cli {
namespace {

/// The stop that is going on, if one is. A task that the agent has forgotten may have records yet.
std::optional<api::Stop> going_on(Session& session, const std::string& name) {
    try {
        const auto task = api::from_json<api::Task>(session.call("GET", task_path(name)));
        if (task.stopping) return task.stopping->stop;
    } catch (const Refused& error) {
        if (error.status() != 404) throw;
    }
    return std::nullopt;
}

}  // namespace

int timeline(Session& session) {
    std::string name;
    session.arguments.about("draws a task's last stop as bars, or the one that is going on.",
                            "  agentctl timeline web\n"
                            "  agentctl timeline web --output json | jq .phases\n");
    session.arguments.word("TASK", name);
    session.parse();
    std::optional<api::Stop> stop = going_on(session, name);
    if (!stop) {
        const boost::json::value answer = session.call("GET", task_path(name, "/stops?limit=1"));
        auto list = api::from_json<api::StopList>(answer);
        if (list.stops.empty()) {
            throw std::runtime_error("cannot draw a timeline: '" + name + "' was never stopped");
        }
        stop = std::move(list.stops.front());
    }
    if (session.json) {
        session.print(api::to_json(*stop));
    } else {
        session.terminal.print(timeline(session.terminal.canvas(), *stop));
    }
    return done;
}

}  // namespace lastcall::cli
