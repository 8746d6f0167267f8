#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace lastcall {

/// The directory of the cgroup that we are in: of version 2 ("cgroup2"), or of one controller of
/// version 1 ("memory"). Found by /proc/self/cgroup and mountinfo, since a hybrid host mounts
/// version 2 beside the others, and a container sees a part of the tree (cgroups(7)). Nullopt if it
/// isn't mounted where we can see it.
std::optional<std::string> own_cgroup(std::string_view hierarchy);

/// The same from those files' texts.
std::optional<std::string> own_cgroup(std::string_view hierarchy, std::string_view cgroup,
                                      std::string_view mountinfo);

}  // namespace lastcall
