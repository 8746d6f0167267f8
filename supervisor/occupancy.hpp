#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "supervisor/connections.hpp"

namespace lastcall {

/// Who is inside while a task drains: taken from looks, kept up to date by what closes in between,
/// and what the record says of it.
class Occupancy {
 public:
    /// A look at the kernel's word. True if somebody new is there since the one before.
    bool look(std::optional<Connections> seen, Clock::time_point now);
    /// What has closed since. True if somebody came and went between two looks.
    bool closed(const std::vector<std::uint64_t>& cookies, Clock::time_point now);

    /// Those inside now; nullopt: no evidence.
    const std::optional<Connections>& here() const { return here_; }
    bool ever_looked() const { return looked_; }
    std::int64_t at_start() const { return at_start_; }
    std::int64_t peak() const { return peak_; }
    std::int64_t arrived() const { return arrived_; }  ///< since the first look

    struct Stay {
        Clock::duration lasted{};
        PeerAddress peer{};
    };
    /// The longest that anybody was waited for, from the first look on, those inside included.
    /// `rest_counts`: also while it was at rest.
    std::optional<Stay> longest(bool rest_counts, Clock::time_point now) const;
    /// "10.0.0.7 (12), 10.0.0.9": those inside by address, the five with the most connections.
    std::string peers() const;
    /// Since when all of them have been at rest; none if somebody isn't, or nobody is inside.
    std::optional<Clock::time_point> all_rest_since() const;

 private:
    void leave(std::uint64_t cookie, Clock::time_point now);

    std::optional<Connections> here_;
    std::unordered_map<std::uint64_t, Clock::time_point> came_;  ///< everybody who ever was here
    std::optional<Stay> longest_, longest_at_work_;              ///< of those who have left
    std::int64_t at_start_ = 0, peak_ = 0, arrived_ = 0;
    bool looked_ = false;
};

}  // namespace lastcall
