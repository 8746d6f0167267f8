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

void Kinship::remember(pid_t pid, std::uint64_t start, const std::string& mark) {
    seen_[pid] = {.start = start, .mark = mark};
}

std::optional<std::string> Kinship::task_of(pid_t pid, std::uint64_t start,
                                            const std::string& environment) const {
    if (auto mark = mark_in(environment)) return mark;
    const auto seen = seen_.find(pid);
    if (seen != seen_.end() && seen->second.start == start) return seen->second.mark;
    auto possible = suspects(start);
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
