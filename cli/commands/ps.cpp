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
    const auto now = wall_clock();
    session.terminal.print(task_table(canvas, list.tasks, now) +
                           journal_trouble(canvas, list.journal, now));
    return done;
}

}  // namespace lastcall::cli
