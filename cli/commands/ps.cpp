#include "agent/api/types.hpp"
#include "cli/commands/commands.hpp"
#include "cli/draw/task.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {

int ps(Session& session) {
    session.arguments.about("lists the tasks, those stopped in the last hours too.",
                            "  agentctl ps\n"
                            "  agentctl ps --output json | jq -r '.tasks[].name'\n");
    session.parse();
    const boost::json::value answer = session.call("GET", "/v1/tasks");
    if (session.json) {
        session.print(answer);
        return done;
    }
    const auto list = api::from_json<api::TaskList>(answer);
    const Canvas canvas = session.terminal.canvas();
    session.terminal.print(task_table(canvas, list.tasks, wall_clock()) +
                           journal_trouble(canvas, list.journal));
    return done;
}

}  // namespace lastcall::cli
