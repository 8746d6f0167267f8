#include "agent/helpers/aws/web_url.hpp"

#include <algorithm>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

namespace lastcall::aws {

bool is_url_text(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::optional<WebUrl> parse_web_url(const std::string& text) {
    if (!is_url_text(text)) return std::nullopt;
    if (!text.starts_with("http://") && !text.starts_with("https://")) return std::nullopt;
    const auto url = boost::urls::parse_uri(text);
    if (!url || url->host().empty()) return std::nullopt;
    if (url->has_userinfo() || url->has_fragment()) return std::nullopt;
    // To Boost.URL 1.81 http://127.0.0.1.example.org is the host 127.0.0.1 with a path.
    const std::string path(url->path());
    if (!path.empty() && path.front() != '/') return std::nullopt;
    return WebUrl{std::string(url->scheme()), std::string(url->host()), url->has_query()};
}

}  // namespace lastcall::aws
