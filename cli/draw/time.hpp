#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lastcall::cli {

/// A measured time for people, two figures or so: "0.8 ms", "340 ms", "1.8 s", "30 s",
/// "4 min 58 s", "2 h 5 min", "3 d 4 h".
std::string duration(double milliseconds);

/// The time that is left, in whole seconds, rounded up: it reaches "0 s" when it is over.
std::string countdown(double milliseconds);

/// Microseconds since 1970 of "2026-01-31T12:00:00.000000Z" (RFC 3339 in UTC; the fraction may
/// be missing); nullopt for anything else.
std::optional<std::int64_t> moment(std::string_view text);

/// The same, for people: "2026-01-31 12:00:00 UTC"; unreadable text as it is.
std::string date(std::string_view text);

/// The wall clock, in microseconds since 1970: the one place that looks at it.
std::int64_t wall_clock();

/// Whole seconds that have passed: "12 s", "3 min 2 s"; "0 s" if the clock was set back.
std::string age(std::int64_t microseconds);

/// "12 s ago", by `now`; "just now" below a second (or if the clock was set back).
std::string ago(std::string_view text, std::int64_t now);

}  // namespace lastcall::cli
