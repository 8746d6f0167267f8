#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace lastcall::aws {

/// What Boost.URL may be given: 1.81 asserts on some bytes beyond ASCII, which no URL
/// holds.
bool is_url_text(std::string_view text);

/// An http or https URL with a host, and without user or fragment.
struct WebUrl {
    std::string scheme;
    std::string host;
    bool query;  ///< it has one
};

/// nullopt if `text` is no such URL. libcurl reads it alike.
std::optional<WebUrl> parse_web_url(const std::string& text);

}  // namespace lastcall::aws
