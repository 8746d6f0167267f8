#pragma once
#include <optional>
#include <string>

namespace lastcall::aws {

/// An http or https URL with a host, and without user or fragment.
struct WebUrl {
    std::string scheme;
    std::string host;
    bool query;  ///< it has one
};

/// nullopt if `text` is no such URL. libcurl reads it alike.
std::optional<WebUrl> parse_web_url(const std::string& text);

}  // namespace lastcall::aws
