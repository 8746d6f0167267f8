#include "agent/api/target.hpp"

#include <fmt/format.h>

#include "supervisor/supervisor.hpp"

namespace lastcall::api {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

std::string percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) {
            throw BadRequest(fmt::format("cannot read '{}': '%' needs two hex digits", text));
        }
        decoded += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return decoded;
}

/// The part of `text` before `separator`, which is taken off its front with it.
std::string_view take_until(std::string_view& text, char separator) {
    const auto end = text.find(separator);
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    return part;
}

}  // namespace

std::vector<std::string> segments_of(std::string_view path) {
    std::vector<std::string> segments;
    if (!path.starts_with('/')) return segments;
    path.remove_prefix(1);
    for (;;) {
        const bool last = path.find('/') == path.npos;
        segments.push_back(percent_decoded(take_until(path, '/')));
        if (last) return segments;
    }
}

std::map<std::string, std::string, std::less<>> parameters_of(std::string_view query) {
    std::map<std::string, std::string, std::less<>> parameters;
    while (!query.empty()) {
        std::string_view value = take_until(query, '&');
        if (value.empty()) continue;
        const std::string name = percent_decoded(take_until(value, '='));
        const bool is_new = parameters.emplace(name, percent_decoded(value)).second;
        if (!is_new) throw BadRequest(fmt::format("the parameter '{}' comes twice", name));
    }
    return parameters;
}

}  // namespace lastcall::api
