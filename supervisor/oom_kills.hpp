#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace lastcall {

/// What the kernel's OOM killer has done in a memory cgroup: `oom_kill` of memory.events, or of
/// version 1's memory.oom_control.
class OomKills {
 public:
    /// From now on. In a container's cgroup of its own (`fresh`) there was none before.
    void begin(const std::string& cgroup = {}, bool fresh = false);
    /// Whether it has killed anybody since; false too where nothing tells.
    bool any() const;

 private:
    std::optional<std::uint64_t> count() const;

    std::string cgroup_;
    std::optional<std::uint64_t> before_;
};

}  // namespace lastcall
