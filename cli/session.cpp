#include "cli/session.hpp"

#include "cli/client.hpp"
#include "cli/draw/json.hpp"

namespace lastcall::cli {

Session::Session(std::string command, std::vector<std::string> words, Terminal& its_terminal)
    : arguments(std::move(command), std::move(words)), terminal(its_terminal) {}

void Session::parse() {
    std::string output = "table";
    arguments.value("--output", "FORMAT", output, "table (the default) or json");
    arguments.value("--socket", "PATH", socket,
                    "the agent's socket; else AGENT_SOCKET, else the usual");
    arguments.parse();
    if (output != "table" && output != "json") {
        throw Usage("--output must be table or json, not '" + output + "'");
    }
    json = output == "json";
    if (socket.empty()) socket = default_socket();
}

boost::json::value Session::call(const std::string& method, const std::string& target,
                                 std::optional<boost::json::value> body) {
    return cli::call(socket, method, target, std::move(body));
}

void Session::print(const boost::json::value& value) { terminal.print(pretty(value)); }

}  // namespace lastcall::cli
