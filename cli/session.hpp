#pragma once
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/terminal.hpp"

namespace lastcall::cli {

/// Exit codes (DESIGN section 8).
enum Exit : int {
    done = 0,
    failed = 1,
    wrong_usage = 2,
    no_such_task = 3,
    no_agent = 4,
    left = 130
};

/// What one command works with: its arguments, where its words go, and the agent's socket.
class Session {
 public:
    Session(std::string command, std::vector<std::string> words, Terminal& its_terminal);

    /// Parses `arguments` with --socket and --output, which all commands take. Throws Usage, Help.
    void parse();
    /// One call to the agent that `parse` found.
    boost::json::value call(const std::string& method, const std::string& target,
                            std::optional<boost::json::value> body = std::nullopt);
    void print(const boost::json::value& value);

    Arguments arguments;
    Terminal& terminal;
    std::string socket;
    bool json = false;  ///< --output json
};

}  // namespace lastcall::cli
