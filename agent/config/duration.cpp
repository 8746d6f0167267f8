#include "agent/config/duration.hpp"

#include <cstdint>
#include <utility>

namespace lastcall {
namespace {

using Nanoseconds = std::uint64_t;
constexpr Nanoseconds second = 1'000'000'000;
/// The magnitude of the most negative duration; a positive one has one less.
constexpr Nanoseconds largest = Nanoseconds{1} << 63;

/// "ms" stands before "m", with which it begins. The micro sign comes as U+00B5 and U+03BC.
constexpr std::pair<std::string_view, Nanoseconds> units[] = {
    {"ns", 1},         {"us", 1'000}, {"\xc2\xb5s", 1'000}, {"\xce\xbcs", 1'000},
    {"ms", 1'000'000}, {"s", second}, {"m", 60 * second},   {"h", 3600 * second},
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// "1", "1.5", ".5" or "1.": whole part and fraction, the fraction in units of 10^-18.
struct Number {
    Nanoseconds whole = 0;
    Nanoseconds fraction = 0;
};

/// Takes a number off the front of `text`; nullopt if there is none or its whole part is too large.
/// Digits of a fraction beyond the eighteenth say less than a nanosecond in any unit: dropped.
std::optional<Number> take_number(std::string_view& text) {
    Number number;
    bool digits = false;
    for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
        digits = true;
        const auto digit = static_cast<Nanoseconds>(text.front() - '0');
        if (number.whole > (largest - digit) / 10) return std::nullopt;
        number.whole = number.whole * 10 + digit;
    }
    if (!text.empty() && text.front() == '.') {
        text.remove_prefix(1);
        Nanoseconds place = 100'000'000'000'000'000;
        for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), place /= 10) {
            digits = true;
            number.fraction += static_cast<Nanoseconds>(text.front() - '0') * place;
        }
    }
    if (!digits) return std::nullopt;
    return number;
}

std::optional<Nanoseconds> take_unit(std::string_view& text) {
    for (const auto& [name, size] : units) {
        if (!text.starts_with(name)) continue;
        text.remove_prefix(name.size());
        return size;
    }
    return std::nullopt;
}

/// `total + number * unit`, or nullopt if that is more than `largest`.
std::optional<Nanoseconds> sum(Nanoseconds total, Number number, Nanoseconds unit) {
    if (number.whole > largest / unit) return std::nullopt;
    const auto part = static_cast<unsigned __int128>(number.fraction) * unit;
    total += static_cast<Nanoseconds>(part / 1'000'000'000'000'000'000);
    if (total > largest || number.whole * unit > largest - total) return std::nullopt;
    return total + number.whole * unit;
}

/// Without its sign.
std::optional<Nanoseconds> magnitude(std::string_view text) {
    Nanoseconds total = 0;
    bool first = true;
    while (!text.empty()) {
        const auto number = take_number(text);
        if (!number) return std::nullopt;
        const bool bare = first && text.empty();
        const auto unit = bare ? second : take_unit(text);
        if (!unit) return std::nullopt;
        const auto longer = sum(total, *number, *unit);
        if (!longer) return std::nullopt;
        total = *longer;
        first = false;
    }
    if (first) return std::nullopt;
    return total;
}

/// "1.5ms": `value` in the unit `name` of `size`, without trailing zeros.
std::string in_unit(Nanoseconds value, Nanoseconds size, std::string_view name) {
    std::string text = std::to_string(value / size);
    if (value % size != 0) {
        std::string fraction = std::to_string(size + value % size);
        fraction.erase(fraction.find_last_not_of('0') + 1);
        text += "." + fraction.substr(1);
    }
    return text.append(name);
}

}  // namespace

std::optional<Clock::duration> parse_duration(std::string_view text) {
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    const auto size = magnitude(text);
    if (!size || (*size == largest && !negative)) return std::nullopt;
    if (*size == largest) return Clock::duration::min();
    const auto count = static_cast<std::int64_t>(*size);
    return Clock::duration(negative ? -count : count);
}

std::string format_duration(Clock::duration duration) {
    const auto count = static_cast<Nanoseconds>(duration.count());
    const bool negative = duration < Clock::duration::zero();
    const Nanoseconds size = negative ? Nanoseconds{0} - count : count;
    std::string text = negative ? "-" : "";
    if (size == 0) return "0s";
    if (size < 1'000) return text + in_unit(size, 1, "ns");
    if (size < 1'000'000) return text + in_unit(size, 1'000, "\xc2\xb5s");
    if (size < second) return text + in_unit(size, 1'000'000, "ms");
    if (const auto hours = size / (3600 * second)) text += std::to_string(hours) + "h";
    if (const auto minutes = size / (60 * second) % 60) text += std::to_string(minutes) + "m";
    if (const auto rest = size % (60 * second)) text += in_unit(rest, second, "s");
    return text;
}

}  // namespace lastcall
