#include <boost/json/object.hpp>

#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/commands/commands.hpp"

namespace lastcall::cli {

int signal(Session& session) {
    std::string name;
    api::SignalRequest request;
    session.arguments.about("sends a signal to a task's main process, as it is: it starts no stop.",
                            "  agentctl signal web HUP\n"
                            "  agentctl signal web SIGUSR1\n");
    session.arguments.word("TASK", name);
    session.arguments.word("SIGNAL", request.signal);
    session.parse();
    const auto answer = session.call("POST", task_path(name, "/signal"), api::to_json(request));
    if (session.json) session.print(answer);
    return done;
}

}  // namespace lastcall::cli
