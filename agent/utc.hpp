#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/clock.hpp"

namespace lastcall {

/// "2026-01-31T12:00:00.000000Z", RFC 3339 in UTC, as the record has it; what is finer is dropped.
std::string utc_text(Clock::utc_time at);

/// "2026-01-31T12:00:00Z", as the ECS agent's log has it.
std::string utc_seconds_text(Clock::utc_time at);

/// The way back from both; nullopt for anything else, and for years before 1678 or after 2261.
std::optional<Clock::utc_time> utc_time(std::string_view text);

}  // namespace lastcall
