#pragma once
#include <string>
#include <vector>

#include "cli/terminal.hpp"

namespace lastcall::cli {

/// The whole program but for `main`: the arguments without the program's name in, the exit code
/// out (DESIGN section 8). Throws nothing: errors are told on the terminal.
int agentctl(std::vector<std::string> words, Terminal& terminal);

}  // namespace lastcall::cli
