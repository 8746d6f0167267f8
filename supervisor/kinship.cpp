#include "supervisor/kinship.hpp"

#include <string_view>

namespace lastcall {
namespace {

constexpr std::string_view variable = "LASTCALL_TASK=";

std::optional<std::string> mark_in(const std::string& environment) {
    // Between two variables there is a zero byte, and the first one follows none.
    std::size_t at = 0;
    while (at < environment.size()) {
        const auto end = std::min(environment.find('\0', at), environment.size());
        const auto text = std::string_view(environment).substr(at, end - at);
        if (text.starts_with(variable)) return std::string(text.substr(variable.size()));
        at = end + 1;
    }
    return std::nullopt;
}

}  // namespace

void Kinship::ends(const std::string& mark) {
    tasks_.erase(mark);
    std::erase_if(seen_, [&mark](const auto& each) { return each.second.mark == mark; });
}

void Kinship::remember(pid_t pid, std::uint64_t identity, const std::string& mark) {
    seen_[pid] = {.identity = identity, .mark = mark};
}

bool Kinship::knows(pid_t pid, const std::string& mark) const {
    const auto seen = seen_.find(pid);
    return seen != seen_.end() && seen->second.mark == mark;
}

bool Kinship::is_doubtful(const Orphan& orphan) const {
    const auto known = doubtful_.find(orphan.pid);
    return known != doubtful_.end() && known->second == orphan.identity;
}

std::optional<std::string> Kinship::task_of(const Orphan& orphan) const {
    const auto seen = seen_.find(orphan.pid);
    if (seen != seen_.end() && seen->second.identity == orphan.identity) return seen->second.mark;
    if (is_doubtful(orphan)) return std::nullopt;
    if (tasks_.size() > 1) {
        const auto mark = mark_in(orphan.environment());
        for (const auto& [task, since] : tasks_) {
            if (mark && mark->starts_with(task)) return task;
        }
    }
    auto possible = suspects(orphan.start());
    if (possible.size() == 1) return std::move(possible.front());
    return std::nullopt;
}

std::vector<std::string> Kinship::suspects(std::uint64_t start) const {
    std::vector<std::string> possible;
    for (const auto& [mark, since] : tasks_) {
        if (since <= start) possible.push_back(mark);
    }
    return possible;
}

}  // namespace lastcall
