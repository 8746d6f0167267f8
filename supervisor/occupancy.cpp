#include "supervisor/occupancy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace lastcall {
namespace {

constexpr std::size_t most_peers = 5;

void keep_longer(std::optional<Occupancy::Stay>& longest, const Occupancy::Stay& stay) {
    if (!longest || stay.lasted > longest->lasted) longest = stay;
}

/// Until when it was waited for, if rest doesn't count.
Clock::time_point at_work_until(const Connection& connection, Clock::time_point came,
                                Clock::time_point left) {
    return connection.rests_since ? std::clamp(*connection.rests_since, came, left) : left;
}

}  // namespace

bool Occupancy::look(std::optional<Connections> seen, Clock::time_point now) {
    if (here_) {
        std::vector<std::uint64_t> gone;
        for (const auto& [cookie, connection] : *here_) {
            if (!seen || !seen->contains(cookie)) gone.push_back(cookie);
        }
        for (const auto cookie : gone) leave(cookie, now);
    }
    here_ = std::move(seen);
    if (!here_) return false;
    const auto before = arrived_;
    for (const auto& [cookie, connection] : *here_) {
        const bool is_new = came_.try_emplace(cookie, now).second;
        if (is_new && looked_) ++arrived_;
    }
    const auto size = static_cast<std::int64_t>(here_->size());
    if (!looked_) at_start_ = size;
    looked_ = true;
    peak_ = std::max(peak_, size);
    return arrived_ != before;
}

bool Occupancy::closed(const std::vector<std::uint64_t>& cookies, Clock::time_point now) {
    if (!looked_) return false;
    const auto before = arrived_;
    for (const auto cookie : cookies) {
        const bool is_new = came_.try_emplace(cookie, now).second;
        if (is_new) ++arrived_;
        if (here_) leave(cookie, now);
    }
    return arrived_ != before;
}

void Occupancy::leave(std::uint64_t cookie, Clock::time_point now) {
    const auto place = here_->find(cookie);
    if (place == here_->end()) return;
    const auto came = came_[cookie];
    const Connection& connection = place->second;
    keep_longer(longest_, {now - came, connection.peer});
    keep_longer(longest_at_work_, {at_work_until(connection, came, now) - came, connection.peer});
    here_->erase(place);
}

std::optional<Occupancy::Stay> Occupancy::longest(bool rest_counts, Clock::time_point now) const {
    auto longest = rest_counts ? longest_ : longest_at_work_;
    if (!here_) return longest;
    for (const auto& [cookie, connection] : *here_) {
        const auto came = came_.at(cookie);
        const auto until = rest_counts ? now : at_work_until(connection, came, now);
        keep_longer(longest, {until - came, connection.peer});
    }
    return longest;
}

std::string Occupancy::peers() const {
    if (!here_) return {};
    std::map<PeerAddress, std::size_t> count;
    for (const auto& [cookie, connection] : *here_) ++count[connection.peer];
    std::vector<std::pair<PeerAddress, std::size_t>> all(count.begin(), count.end());
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
        return std::tuple(b.second, a.first) < std::tuple(a.second, b.first);
    });
    std::string text;
    for (std::size_t index = 0; index < std::min(all.size(), most_peers); ++index) {
        const auto& [peer, connections] = all[index];
        if (!text.empty()) text += ", ";
        text += to_string(peer);
        if (connections > 1) text += fmt::format(" ({})", connections);
    }
    if (all.size() > most_peers) text += fmt::format(" and {} more", all.size() - most_peers);
    return text;
}

std::optional<Clock::time_point> Occupancy::all_rest_since() const {
    if (!here_ || here_->empty()) return std::nullopt;
    Clock::time_point since{};
    for (const auto& [cookie, connection] : *here_) {
        if (!connection.rests_since) return std::nullopt;
        since = std::max(since, *connection.rests_since);
    }
    return since;
}

}  // namespace lastcall
