#include "agent/config/pathless_url.hpp"

namespace lastcall {

std::string with_path(std::string url) {
    const auto begin = url.find(':') + 1;
    if (begin == 0) return url;
    if (begin == url.size() || url[begin] == '?' || url[begin] == '#') url.insert(begin, 1, '/');
    return url;
}

}  // namespace lastcall
