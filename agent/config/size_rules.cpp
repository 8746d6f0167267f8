#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "agent/config/complaint.hpp"
#include "agent/config/rules.hpp"

namespace lastcall::rules {
namespace {

constexpr std::string_view units = "KMG";

/// "10M", "512K", "1g" or a bare number of bytes.
std::optional<std::uint64_t> parse_size(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return number;
    const char letter = text[0] >= 'a' ? static_cast<char>(text[0] - 'a' + 'A') : text[0];
    const auto unit = units.find(letter);
    if (text.size() != 1 || unit == units.npos) return std::nullopt;
    const auto shift = 10 * (unit + 1);
    if (number > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
    return number << shift;
}

/// The shortest form that says the same.
std::string format_size(std::uint64_t bytes) {
    std::string unit;
    for (const char each : units) {
        if (bytes == 0 || bytes % 1024 != 0) break;
        bytes /= 1024;
        unit = each;
    }
    return std::to_string(bytes) + unit;
}

}  // namespace

Effective log_max_size(Reading& reading) {
    auto& setting = reading.out.settings.log_max_size;
    const auto given = parse_size(reading.text);
    if (!given && !reading.text.empty()) {
        warn(reading, "not a size like 10M, 512K, 1G or 4096 (bytes)", format_size(setting));
    }
    setting = given.value_or(setting);
    return {setting == 0 ? "none" : format_size(setting), given.has_value()};
}

}  // namespace lastcall::rules
