#include "cli/draw/time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>

namespace lastcall::cli {
namespace {

constexpr std::int64_t minute = 60, hour = 3600, day = 86400;

std::string two(std::int64_t large, std::string_view large_unit, std::int64_t small,
                std::string_view small_unit) {
    if (small == 0) return fmt::format("{} {}", large, large_unit);
    return fmt::format("{} {} {} {}", large, large_unit, small, small_unit);
}

std::string whole(std::int64_t seconds) {
    if (seconds < minute) return fmt::format("{} s", seconds);
    if (seconds < hour) return two(seconds / minute, "min", seconds % minute, "s");
    if (seconds < day) return two(seconds / hour, "h", seconds % hour / minute, "min");
    return two(seconds / day, "d", seconds % day / hour, "h");
}

/// One decimal, but for ".0".
std::string short_decimal(double value) {
    std::string text = fmt::format("{:.1f}", value);
    if (text.ends_with(".0")) text.resize(text.size() - 2);
    return text;
}

/// Reads `digits` decimal digits off the front of `text`.
std::optional<int> number(std::string_view& text, std::size_t digits) {
    int value = 0;
    if (text.size() < digits) return std::nullopt;
    const char* const end = text.data() + digits;
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || text[0] == '-') return std::nullopt;
    text.remove_prefix(digits);
    return value;
}

bool skip(std::string_view& text, char expected) {
    if (text.empty() || text[0] != expected) return false;
    text.remove_prefix(1);
    return true;
}

/// ".25" as 250000 microseconds, and "Z" after it, to the end.
std::optional<std::int64_t> fraction(std::string_view text) {
    std::int64_t value = 0, unit = 1'000'000;
    if (skip(text, '.')) {
        while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
            unit /= 10;
            value += (text[0] - '0') * unit;
            text.remove_prefix(1);
        }
    }
    if (text != "Z") return std::nullopt;
    return value;
}

}  // namespace

std::string duration(double milliseconds) {
    const double ms = std::max(milliseconds, 0.0);
    if (ms < 99.95) return short_decimal(ms) + " ms";
    if (ms < 999.5) return fmt::format("{:.0f} ms", ms);
    if (ms < 59'950) return short_decimal(ms / 1000) + " s";
    return whole(std::llround(ms / 1000));
}

std::string countdown(double milliseconds) {
    return whole(static_cast<std::int64_t>(std::ceil(std::max(milliseconds, 0.0) / 1000)));
}

std::optional<std::int64_t> moment(std::string_view text) {
    const auto year = number(text, 4);
    if (!year || !skip(text, '-')) return std::nullopt;
    const auto month = number(text, 2);
    if (!month || !skip(text, '-')) return std::nullopt;
    const auto mday = number(text, 2);
    if (!mday || !skip(text, 'T')) return std::nullopt;
    const auto hours = number(text, 2);
    if (!hours || !skip(text, ':')) return std::nullopt;
    const auto minutes = number(text, 2);
    if (!minutes || !skip(text, ':')) return std::nullopt;
    const auto seconds = number(text, 2);
    if (!seconds) return std::nullopt;
    const auto rest = fraction(text);
    const std::chrono::year_month_day date{std::chrono::year(*year),
                                           std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*mday))};
    if (!rest || !date.ok()) return std::nullopt;
    const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
    return (days * day + *hours * hour + *minutes * minute + *seconds) * 1'000'000 + *rest;
}

std::string date(std::string_view text) {
    if (!moment(text)) return std::string(text);
    return fmt::format("{} {} UTC", text.substr(0, 10), text.substr(11, 8));
}

std::int64_t wall_clock() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

std::string age(std::int64_t microseconds) {
    return whole(std::max<std::int64_t>(microseconds, 0) / 1'000'000);
}

std::string ago(std::string_view text, std::int64_t now) {
    const auto then = moment(text);
    if (!then) return std::string(text);
    return now - *then < 1'000'000 ? "just now" : age(now - *then) + " ago";
}

}  // namespace lastcall::cli
