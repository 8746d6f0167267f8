#include "supervisor/oom_kills.hpp"

#include <cstdlib>

#include "supervisor/cgroup_mounts.hpp"
#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

std::optional<std::uint64_t> count_in(const std::string& path) {
    const std::string text = "\n" + proc::contents(path);
    constexpr std::string_view name = "\noom_kill ";
    const auto at = text.find(name);
    if (at == std::string::npos) return std::nullopt;
    return std::strtoull(text.c_str() + at + name.size(), nullptr, 10);
}

}  // namespace

void OomKills::begin(const std::string& cgroup, bool fresh) {
    cgroup_ = cgroup;
    before_ = fresh ? std::optional<std::uint64_t>(0) : count();
}

bool OomKills::any() const {
    if (!before_) return false;
    const auto now = count();
    return now && *now > *before_;
}

/// The task's own cgroup has no such file unless somebody gave it the memory controller; ours then
/// counts for all that is below.
std::optional<std::uint64_t> OomKills::count() const {
    if (!cgroup_.empty()) {
        if (const auto own = count_in(cgroup_ + "/memory.events")) return own;
    }
    if (const auto ours = own_cgroup("cgroup2")) {
        if (const auto all = count_in(*ours + "/memory.events")) return all;
    }
    const auto first_version = own_cgroup("memory");
    return first_version ? count_in(*first_version + "/memory.oom_control") : std::nullopt;
}

}  // namespace lastcall
