#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/clock.hpp"

namespace lastcall {

/// Reads Go's durations (time.ParseDuration: "1m30s", "1.5h", "-10s", units ns us µs ms s m h, no
/// spaces) or a bare number of seconds ("30", "2.5"). nullopt for anything else, and for what
/// overflows 64 bits of nanoseconds.
std::optional<Clock::duration> parse_duration(std::string_view text);

/// The shortest of Go's forms that says the same: "1m30s", "500ms", "0s".
std::string format_duration(Clock::duration duration);

}  // namespace lastcall
