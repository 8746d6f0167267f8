#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lastcall {

/// The agent's command line, understood.
struct Options {
    enum class Command { run, serve, version } command = Command::run;
    std::vector<std::string> arguments;        ///< run: the command to wrap
    std::map<std::string, std::string> flags;  ///< those of the settings, by name without dashes
    bool print_config = false;
    bool check = false;  ///< serve: only see whether it could take over
    // run's own, which no variable sets; as they were typed.
    std::optional<std::string> parent_death_signal, user, directory;
    std::vector<std::string> env_files;
    bool subreaper = true;
    std::optional<int>
        exit_code;  ///< nothing to do but to exit: help was asked for, or it is wrong
};

/// Prints help to stdout, and what is wrong to stderr (exit code 125 for `run`, else 1).
Options parse_options(int argc, char** argv);

}  // namespace lastcall
