#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/commands/commands.hpp"

namespace lastcall::cli {

int version(Session& session) {
    session.arguments.about("prints this program's version, and the agent's if one answers.",
                            "  agentctl version\n");
    session.parse();
    boost::json::object versions = {{"agentctl", LASTCALL_VERSION}, {"agent", nullptr}};
    std::string text = "agentctl " LASTCALL_VERSION "\n";
    try {
        const boost::json::value answer = session.call("GET", "/v1/metadata");
        const auto agent = api::from_json<api::Metadata>(answer);
        text += fmt::format("agent    {} ({}, pid {}, cluster {}) at {}\n", agent.Version,
                            agent.mode, agent.pid, agent.Cluster, session.socket);
        versions["agent"] = answer;
    } catch (const NoAgent&) {  // our own version is an answer without an agent, too
        text += fmt::format("agent    none at {}\n", session.socket);
    }
    if (session.json) {
        session.print(versions);
    } else {
        session.terminal.print(text);
    }
    return done;
}

}  // namespace lastcall::cli
