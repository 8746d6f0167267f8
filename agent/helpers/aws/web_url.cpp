#include "agent/helpers/aws/web_url.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "agent/config/url_text.hpp"

namespace lastcall::aws {

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
