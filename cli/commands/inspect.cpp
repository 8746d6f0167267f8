#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/commands/commands.hpp"
#include "cli/draw/task.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {

int inspect(Session& session) {
    std::string name;
    session.arguments.about("shows everything the agent knows about a task.",
                            "  agentctl inspect web\n"
                            "  agentctl inspect web --output json | jq .connections\n");
    session.arguments.word("TASK", name);
    session.parse();
    const boost::json::value answer = session.call("GET", task_path(name));
    if (session.json) {
        session.print(answer);
        return done;
    }
    const auto task = api::from_json<api::Task>(answer);
    session.terminal.print(task_facts(session.terminal.canvas(), task, wall_clock()));
    return done;
}

}  // namespace lastcall::cli
