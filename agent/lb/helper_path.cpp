#include "agent/lb/helper_path.hpp"

#include <fmt/format.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/list.hpp"

namespace lastcall {
namespace {

/// Without a slash at its end; empty: out of our sight.
std::string own_directory() {
    char path[PATH_MAX];
    const auto size = ::readlink("/proc/self/exe", path, sizeof path);
    if (size <= 0) return {};
    const std::string_view whole(path, static_cast<std::size_t>(size));
    return std::string(whole.substr(0, whole.rfind('/')));
}

bool is_program(const std::string& path) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
           ::access(path.c_str(), X_OK) == 0;
}

}  // namespace

std::vector<std::string> helper_directories(std::string_view helper_path) {
    const auto given = split(helper_path, ":");
    if (!given.empty()) return {given.begin(), given.end()};
    const auto own = own_directory();
    if (own.empty()) return {"/usr/libexec/lastcall"};
    return {own, own + "/../libexec/lastcall"};
}

std::optional<std::string> find_helper(std::string_view scheme,
                                       const std::vector<std::string>& directories) {
    for (const auto& directory : directories) {
        auto path = fmt::format("{}/agent-lb-{}", directory, scheme);
        if (is_program(path)) return path;
    }
    return std::nullopt;
}

}  // namespace lastcall
