#include <boost/json/array.hpp>
#include <boost/json/stream_parser.hpp>
#include <charconv>
#include <cmath>
#include <type_traits>
#include <utility>

#include "agent/api/types.hpp"

namespace lastcall::api {
namespace {

/// The length of the UTF-8 character at the start of `text` (RFC 3629), 0 if there is none.
std::size_t utf8_length(std::string_view text) {
    const auto at = [&](std::size_t i) -> unsigned {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
    };
    const auto tail = [&](std::size_t i) { return (at(i) & 0xC0) == 0x80; };
    const unsigned a = at(0), b = at(1);
    if (a < 0x80) return 1;
    if (a >= 0xC2 && a <= 0xDF) return tail(1) ? 2 : 0;
    if (a >= 0xE0 && a <= 0xEF) {
        const bool overlong = a == 0xE0 && b < 0xA0, surrogate = a == 0xED && b > 0x9F;
        return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
    }
    if (a >= 0xF0 && a <= 0xF4) {
        const bool overlong = a == 0xF0 && b < 0x90, beyond = a == 0xF4 && b > 0x8F;
        return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

void write(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        const unsigned char first = static_cast<unsigned char>(text[0]);
        constexpr char hex[] = "0123456789abcdef";
        if (length == 0) {
            out += "\uFFFD";
        } else if (first == '"' || first == '\\') {
            (out += '\\') += text[0];
        } else if (first == '\n') {
            out += "\\n";
        } else if (first == '\t') {
            out += "\\t";
        } else if (first < 0x20 || first == 0x7F) {
            ((out += "\\u00") += hex[first >> 4]) += hex[first & 15];
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length == 0 ? 1 : length);
    }
    out += '"';
}

template <class Number>
void write_number(std::string& out, Number number) {
    char digits[400];  // the longest double has 309 digits
    std::to_chars_result result{};
    if constexpr (std::is_floating_point_v<Number>) {
        if (!std::isfinite(number)) {
            out += "null";
            return;
        }
        result = std::to_chars(digits, std::end(digits), number, std::chars_format::fixed);
    } else {
        result = std::to_chars(digits, std::end(digits), number);
    }
    out.append(digits, result.ptr);
}

void write(std::string& out, const json::value& value) {
    switch (value.kind()) {
        case json::kind::null:
            out += "null";
            return;
        case json::kind::bool_:
            out += value.get_bool() ? "true" : "false";
            return;
        case json::kind::int64:
            return write_number(out, value.get_int64());
        case json::kind::uint64:
            return write_number(out, value.get_uint64());
        case json::kind::double_:
            return write_number(out, value.get_double());
        case json::kind::string:
            return write(out, std::string_view(value.get_string()));
        case json::kind::array: {
            std::string_view comma = "[";
            for (const json::value& each : value.get_array()) {
                out += std::exchange(comma, ",");
                write(out, each);
            }
            out += value.get_array().empty() ? "[]" : "]";
            return;
        }
        case json::kind::object: {
            std::string_view comma = "{";
            for (const auto& [key, each] : value.get_object()) {
                out += std::exchange(comma, ",");
                write(out, std::string_view(key));
                out += ':';
                write(out, each);
            }
            out += value.get_object().empty() ? "{}" : "}";
            return;
        }
    }
}

}  // namespace

std::string to_text(const json::value& value) {
    std::string out;
    write(out, value);
    return out;
}

json::value parse(std::string_view text) {
    json::error_code error;
    json::stream_parser parser;
    const std::size_t read = parser.write(text.data(), text.size(), error);
    if (!error) parser.finish(error);
    if (!error) return parser.release();
    const std::string where = read < text.size() ? " at byte " + std::to_string(read + 1) : "";
    throw Malformed("cannot read JSON: " + error.message() + where);
}

}  // namespace lastcall::api
