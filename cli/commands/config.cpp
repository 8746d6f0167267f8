#include "agent/api/types.hpp"
#include "cli/commands/commands.hpp"
#include "cli/draw/table.hpp"

namespace lastcall::cli {

int config(Session& session) {
    session.arguments.about(
        "shows every setting of the agent, its value and where it came from.",
        "  agentctl config\n"
        "  agentctl config --output json | jq '.settings[] | select(.source != \"default\")'\n");
    session.parse();
    const boost::json::value answer = session.call("GET", "/v1/config");
    if (session.json) {
        session.print(answer);
        return done;
    }
    const auto list = api::from_json<api::SettingList>(answer);
    std::vector<std::vector<Cell>> rows;
    for (const api::Setting& each : list.settings) {
        const Ink ink = each.source == "default" ? Ink::dim : Ink::plain;
        rows.push_back({Cell(each.name, ink), Cell(each.value, ink), Cell(each.source, ink)});
    }
    Canvas whole = session.terminal.canvas();
    whole.width = 0;
    session.terminal.print(table(whole, {{"NAME"}, {"VALUE"}, {"SOURCE"}}, rows));
    return done;
}

}  // namespace lastcall::cli
