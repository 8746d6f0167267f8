#include "agent/log_line.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "agent/level.hpp"
#include "agent/utc.hpp"

namespace lastcall {
namespace {

/// One character of UTF-8: its bytes and its code point; `size` 1 and no value for a byte that
/// begins none (too long, a surrogate and beyond Unicode included: RFC 3629).
struct Character {
    std::size_t size = 1;
    std::optional<char32_t> value;
};

Character first_character(std::string_view text) {
    const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(0);
    if (lead < 0x80) return {1, lead};
    const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
    char32_t value = lead & (0x7F >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return {};
        value = (value << 6) | (byte(i) & 0x3F);
    }
    const bool too_long = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
    if (too_long || (value >= 0xD800 && value <= 0xDFFF) || value > 0x10FFFF) return {};
    return {size, value};
}

bool is_control(char32_t value) { return value < 0x20 || (value >= 0x7F && value < 0xA0); }

/// In double quotes, as Go's %q or as JSON has it; cut before it has more than `longest` bytes.
std::string quote(LogFormat format, std::string_view text, std::size_t longest) {
    std::string quoted = "\"";
    while (!text.empty()) {
        const auto [size, value] = first_character(text);
        std::string piece(text.substr(0, size));
        if (!value && format == LogFormat::json) piece = "\\ufffd";
        if (!value && format == LogFormat::logfmt) {
            piece = fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
        }
        if (value == U'"' || value == U'\\') piece.insert(0, "\\");
        if (value && is_control(*value))
            piece = fmt::format("\\u{:04x}", static_cast<unsigned>(*value));
        if (value == U'\n') piece = "\\n";
        if (value == U'\t') piece = "\\t";
        if (quoted.size() + piece.size() > longest) return quoted + "…\"";
        quoted += piece;
        text.remove_prefix(size);
    }
    return quoted + '"';
}

/// A number or a boolean as JSON has it.
bool is_bare(std::string_view value) {
    if (value == "true" || value == "false") return true;
    const auto take_digits = [&value] {
        const auto count = std::min(value.find_first_not_of("0123456789"), value.size());
        value.remove_prefix(count);
        return count;
    };
    if (value.starts_with('-')) value.remove_prefix(1);
    const bool leading_zero = value.starts_with('0');
    const auto whole = take_digits();
    if (whole == 0 || (leading_zero && whole > 1)) return false;
    if (!value.starts_with('.')) return value.empty();
    value.remove_prefix(1);
    return take_digits() > 0 && value.empty();
}

/// Text whatever it looks like: a task may be called "7", and a key must not change its type.
bool is_text(std::string_view key) {
    constexpr std::string_view keys[] = {"task",   "container",     "name",         "reason",
                                         "error",  "stoppedReason", "loadBalancer", "target",
                                         "signal", "value",         "command"};
    return std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
}

void add(std::string& line, LogFormat format, std::string_view key, std::string_view value) {
    if (format == LogFormat::logfmt)
        line += fmt::format("{}{}={}", line.empty() ? "" : " ", key, value);
    if (format == LogFormat::json)
        line += fmt::format("{}\"{}\":{}", line.empty() ? "{" : ",", key, value);
}

std::string line_with(LogFormat format, const LogEntry& entry, std::size_t longest_value,
                      std::size_t most_fields) {
    const auto time = utc_seconds_text(entry.at);
    const std::string level(spelling_of(entry.level, level_words));
    const bool json = format == LogFormat::json;
    std::string line;
    add(line, format, "level", json ? '"' + level + '"' : level);
    add(line, format, "time", json ? '"' + time + '"' : time);
    add(line, format, "msg", quote(format, entry.message, longest_value));
    for (const auto& [key, value] : entry.fields) {
        if (most_fields-- == 0) break;
        const bool bare = !is_text(key) && is_bare(value);
        add(line, format, key, bare ? value : quote(format, value, longest_value));
    }
    return line + (json ? "}\n" : "\n");
}

}  // namespace

std::string log_line(LogFormat format, const LogEntry& entry, std::size_t longest) {
    for (const std::size_t longest_value : {longest, longest / 4, longest / 16}) {
        auto line = line_with(format, entry, longest_value, entry.fields.size());
        if (line.size() <= longest) return line;
    }
    for (auto fields = entry.fields.size(); fields > 0; --fields) {
        auto line = line_with(format, entry, longest / 16, fields - 1);
        if (line.size() <= longest) return line;
    }
    return line_with(format, entry, longest / 4, 0);
}

}  // namespace lastcall
