#include "cli/commands/commands.hpp"
#include "cli/following.hpp"

namespace lastcall::cli {

int stop(Session& session) {
    StopFlags flags;
    session.arguments.about(
        "stops tasks: leaves their load balancers, waits for connections, then signals.",
        "  agentctl stop web\n"
        "  agentctl stop web --no-drain          # also while it drains: ends the wait\n"
        "  agentctl stop --all --reason 'kernel update' --detach\n"
        "Ctrl-C leaves this program only: the stop goes on.\n");
    declare(session.arguments, Verb::stop, flags);
    session.parse();
    return follow(session, Verb::stop, std::move(flags));
}

}  // namespace lastcall::cli
