#include "supervisor/cgroup_mounts.hpp"

#include <algorithm>
#include <vector>

#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (std::size_t from = 0; from <= text.size();) {
        const auto to = std::min(text.find(separator, from), text.size());
        parts.push_back(text.substr(from, to - from));
        from = to + 1;
    }
    return parts;
}

bool has_word(std::string_view list, std::string_view word) {
    const auto words = split(list, ',');
    return std::find(words.begin(), words.end(), word) != words.end();
}

/// Our path in the hierarchy's own tree: a line is "0::/path", or "4:memory,cpu:/path".
std::optional<std::string_view> path_in(std::string_view hierarchy, std::string_view cgroup) {
    for (const auto line : split(cgroup, '\n')) {
        const auto first = line.find(':');
        const auto second = line.find(':', std::min(first, line.size() - 1) + 1);
        if (line.empty() || second == line.npos) continue;
        const auto controllers = line.substr(first + 1, second - first - 1);
        const bool ours =
            hierarchy == "cgroup2" ? line.starts_with("0::") : has_word(controllers, hierarchy);
        if (ours) return line.substr(second + 1);
    }
    return std::nullopt;
}

/// mountinfo writes blanks and backslashes as \040.
std::string unescaped(std::string_view text) {
    std::string plain;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\\' && at + 3 < text.size()) {
            plain += static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 +
                                       (text[at + 3] - '0'));
            at += 3;
        } else {
            plain += text[at];
        }
    }
    return plain;
}

}  // namespace

std::optional<std::string> own_cgroup(std::string_view hierarchy, std::string_view cgroup,
                                      std::string_view mountinfo) {
    const auto path = path_in(hierarchy, cgroup);
    if (!path) return std::nullopt;
    for (const auto line : split(mountinfo, '\n')) {
        // ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS [TAG…] - TYPE SOURCE SUPEROPTIONS, proc(5)
        const auto dash = line.find(" - ");
        if (dash == line.npos) continue;
        const auto left = split(line.substr(0, dash), ' ');
        const auto right = split(line.substr(dash + 3), ' ');
        if (left.size() < 6 || right.size() < 3) continue;
        const bool ours = hierarchy == "cgroup2"
                              ? right[0] == "cgroup2"
                              : right[0] == "cgroup" && has_word(right[2], hierarchy);
        if (!ours) continue;
        const std::string root = unescaped(left[3]), point = unescaped(left[4]);
        if (root == "/") return point + (*path == "/" ? "" : std::string(*path));
        if (*path == root) return point;
        if (path->starts_with(root + "/")) return point + std::string(path->substr(root.size()));
    }
    return std::nullopt;
}

std::optional<std::string> own_cgroup(std::string_view hierarchy) {
    return own_cgroup(hierarchy, proc::contents("/proc/self/cgroup"),
                      proc::contents("/proc/self/mountinfo"));
}

}  // namespace lastcall
