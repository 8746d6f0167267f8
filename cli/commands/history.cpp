#include <charconv>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/commands/commands.hpp"
#include "cli/draw/stop.hpp"

namespace lastcall::cli {

int history(Session& session) {
    std::optional<std::string> name;
    std::string limit = "20";
    session.arguments.about(
        "lists recorded stops of a task, or of all, newest first.",
        "  agentctl history\n"
        "  agentctl history web --limit 3\n"
        "  agentctl history --output json | jq '.stops[] | select(.outcome == \"killed\")'\n");
    session.arguments.word("TASK", name);
    session.arguments.value("--limit", "N", limit, "so many at most (default 20)");
    session.parse();
    unsigned count = 0;
    const char* const end = limit.data() + limit.size();
    const auto [stop, error] = std::from_chars(limit.data(), end, count);
    if (error != std::errc() || stop != end || count == 0) {
        throw Usage("--limit must be a whole number above 0, not '" + limit + "'");
    }
    const std::string query = "?limit=" + std::to_string(count);
    const std::string path = name ? task_path(*name, "/stops" + query) : "/v1/stops" + query;
    const boost::json::value answer = session.call("GET", path);
    if (session.json) {
        session.print(answer);
        return done;
    }
    const auto list = api::from_json<api::StopList>(answer);
    session.terminal.print(history(session.terminal.canvas(), list.stops));
    return done;
}

}  // namespace lastcall::cli
