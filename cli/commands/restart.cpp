#include "cli/commands/commands.hpp"
#include "cli/following.hpp"

namespace lastcall::cli {

int restart(Session& session) {
    StopFlags flags;
    session.arguments.about(
        "stops tasks as 'stop' does, and starts them again as they were defined.",
        "  agentctl restart web\n"
        "  agentctl restart web api --drain-timeout 10s\n"
        "Ctrl-C leaves this program only: the restart goes on.\n");
    declare(session.arguments, Verb::restart, flags);
    session.parse();
    return follow(session, Verb::restart, std::move(flags));
}

}  // namespace lastcall::cli
