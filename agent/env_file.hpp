#pragma once
#include <map>
#include <string>
#include <vector>

namespace lastcall {

/// What a file of docker's format says, "NAME=value" each, in its order: a line is NAME=value
/// (everything behind the `=` as it stands), a comment (`#`), blank, or a bare NAME, which takes
/// the value in `ours` and is left out if there is none. Throws std::runtime_error that names file
/// and line.
std::vector<std::string> read_env_file(const std::string& path,
                                       const std::map<std::string, std::string>& ours);

}  // namespace lastcall
