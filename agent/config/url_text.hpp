#pragma once
#include <string>
#include <string_view>

// What Boost.URL 1.81 trips over.
namespace lastcall {

/// Whether it has neither white space nor anything beyond ASCII, which is no URL's (RFC 3986), and
/// for which Boost.URL looks beside its tables.
bool is_url_text(std::string_view text);

/// A URL with the path "/" where it has none at all ("elbv2:?a=b"): there Boost.URL reads a length
/// that it never set.
std::string with_path(std::string url);

}  // namespace lastcall
