#pragma once
#include "agent/options.hpp"
#include "supervisor/launch.hpp"

namespace lastcall {

/// `agent run`: wraps one command. Returns the exit code (DESIGN section 3).
int run(const Options& options, const Inheritance& inherited);

/// `agent serve`: a daemon with many tasks (DESIGN section 4).
int serve(const Options& options, const Inheritance& inherited, char** argv);

/// What the settings are read from: our own variables, and those that name a user's directories;
/// or the whole of it.
std::map<std::string, std::string> environment(bool whole = false);

/// Prints every effective value, its source, and the warnings.
void print_configuration(const struct Configuration& configuration);

}  // namespace lastcall
