#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lastcall {

/// Where helper programs are looked for: the directories of `helper_path`, which colons separate;
/// if it is empty, the agent's own, then `../libexec/lastcall` from there.
std::vector<std::string> helper_directories(std::string_view helper_path);

/// The first executable file `agent-lb-SCHEME` in those directories.
std::optional<std::string> find_helper(std::string_view scheme,
                                       const std::vector<std::string>& directories);

}  // namespace lastcall
