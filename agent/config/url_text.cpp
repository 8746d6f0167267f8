#include "agent/config/url_text.hpp"

#include <algorithm>

namespace lastcall {

bool is_url_text(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string with_path(std::string url) {
    const auto begin = url.find(':') + 1;
    if (begin == 0) return url;
    if (begin == url.size() || url[begin] == '?' || url[begin] == '#') url.insert(begin, 1, '/');
    return url;
}

}  // namespace lastcall
