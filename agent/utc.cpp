#include "agent/utc.hpp"

#include <fmt/format.h>

#include <charconv>

// By the calendar of <chrono>: gmtime_r reads the time zone's file first, and fmt's own brings
// std::locale into the program.
namespace lastcall {
namespace {

using Microseconds = std::chrono::microseconds;

struct Parts {
    std::chrono::year_month_day date;
    std::chrono::hh_mm_ss<Microseconds> time;
};

Parts parts(Clock::utc_time at) {
    const auto exact = std::chrono::floor<Microseconds>(at);
    const auto day = std::chrono::floor<std::chrono::days>(exact);
    return {std::chrono::year_month_day(day), std::chrono::hh_mm_ss<Microseconds>(exact - day)};
}

std::string up_to_seconds(const Parts& parts) {
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(parts.date.year()),
                       static_cast<unsigned>(parts.date.month()),
                       static_cast<unsigned>(parts.date.day()), parts.time.hours().count(),
                       parts.time.minutes().count(), parts.time.seconds().count());
}

/// The digits at `begin`, all of `size`.
std::optional<int> number(std::string_view text, std::size_t begin, std::size_t size) {
    int value = 0;
    const char* const first = text.data() + begin;
    const auto [end, error] = std::from_chars(first, first + size, value);
    if (error != std::errc() || end != first + size || *first == '-') return std::nullopt;
    return value;
}

}  // namespace

std::string utc_text(Clock::utc_time at) {
    const Parts split = parts(at);
    return fmt::format("{}.{:06}Z", up_to_seconds(split), split.time.subseconds().count());
}

std::string utc_seconds_text(Clock::utc_time at) { return up_to_seconds(parts(at)) + "Z"; }

std::optional<Clock::utc_time> utc_time(std::string_view text) {
    constexpr std::string_view whole = "dddd-dd-ddTdd:dd:ddZ";
    constexpr std::string_view exact = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    if (text.size() != whole.size() && text.size() != exact.size()) return std::nullopt;
    const auto shape = text.size() == whole.size() ? whole : exact;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] != 'd' && shape[i] != text[i]) return std::nullopt;
    }
    const auto year = number(text, 0, 4), month = number(text, 5, 2), day = number(text, 8, 2);
    const auto hour = number(text, 11, 2), minute = number(text, 14, 2);
    const auto second = number(text, 17, 2);
    const auto micro = shape == exact ? number(text, 20, 6) : 0;
    if (!year || !month || !day || !hour || !minute || !second || !micro) return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(*year),
                                           std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    // What 64 bits of nanoseconds hold.
    if (*year < 1678 || *year > 2261) return std::nullopt;
    if (!date.ok() || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
    return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
           std::chrono::seconds(*second) + Microseconds(*micro);
}

}  // namespace lastcall
