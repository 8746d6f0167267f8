#include "cli/agentctl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/client.hpp"
#include "cli/commands/commands.hpp"

namespace lastcall::cli {
namespace {

struct Command {
    std::string_view name, summary;
    int (*act)(Session&);
};
constexpr std::array<Command, 12> commands = {{
    {"run", "start a task", run},
    {"stop", "stop tasks: deregister, drain, signal, and say how it went", stop},
    {"restart", "stop tasks in the same way, and start them again", restart},
    {"ps", "list the tasks", ps},
    {"inspect", "show everything about a task", inspect},
    {"timeline", "draw a task's last stop as bars", timeline},
    {"history", "list recorded stops, newest first", history},
    {"logs", "print what a task wrote", logs},
    {"signal", "send a signal to a task's main process", signal},
    {"config", "show the agent's settings and where each came from", config},
    {"upgrade", "let the agent execute its new binary; tasks and stops go on", upgrade},
    {"version", "print this program's version and the agent's", version},
}};

std::string overview() {
    std::string text =
        "agentctl talks to an agent, which starts tasks and stops them without losing a "
        "request.\n\n"
        "Usage: agentctl COMMAND [options]\n\nCommands:\n";
    for (const Command& each : commands)
        text += fmt::format("  {:<9} {}\n", each.name, each.summary);
    return text +
           "\nAll take --output table|json and --socket PATH; 'agentctl COMMAND --help' tells "
           "more.\n"
           "\nExamples:\n"
           "  agentctl run --name web --port 8081 -- ./server 8081\n"
           "  agentctl stop web\n"
           "  agentctl timeline web\n";
}

const Command& command(const std::string& name) {
    const auto found = std::ranges::find(commands, std::string_view(name), &Command::name);
    if (found != commands.end()) return *found;
    std::vector<std::string> known;
    for (const Command& each : commands) known.emplace_back(each.name);
    throw Usage(fmt::format("unknown command '{}'{}; see 'agentctl --help'", name,
                            suggestion(name, known)));
}

/// Takes the command's name out of `words`; "" if there is none. Options before it, as in
/// `agentctl --socket PATH ps`, stay and so belong behind it.
std::string take_name(std::vector<std::string>& words) {
    std::size_t at = 0;
    while (at < words.size() && words[at].starts_with("--")) {
        if (words[at] == "--help" || words[at] == "--version") break;
        const bool takes_next = words[at] == "--socket" || words[at] == "--output";
        at += takes_next ? 2 : 1;
    }
    if (at >= words.size()) return "";
    std::string name = std::move(words[at]);
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(at));
    return name;
}

int act(std::vector<std::string> words, Terminal& terminal) {
    std::string name = take_name(words);
    if (name.empty()) throw Usage("a command is missing; see 'agentctl --help'");
    if (name == "help") {
        name = take_name(words);
        words = {"--help"};
    }
    if (name == "-h" || name == "--help" || name.empty()) throw Help(overview());
    if (name == "--version") name = "version";
    const Command& found = command(name);
    Session session(name, std::move(words), terminal);
    return found.act(session);
}

}  // namespace

int agentctl(std::vector<std::string> words, Terminal& terminal) try {
    try {
        return act(std::move(words), terminal);
    } catch (const Help& help) {
        terminal.print(help.what());
        return done;
    }
} catch (const Usage& error) {
    terminal.complain(error.what());
    return wrong_usage;
} catch (const NoAgent& error) {
    terminal.complain(error.what());
    return no_agent;
} catch (const Refused& error) {
    terminal.complain(error.what());
    return error.status() == 404 ? no_such_task : failed;
} catch (const std::exception& error) {
    terminal.complain(error.what());
    return failed;
}

}  // namespace lastcall::cli
