#include "agent/config/list.hpp"

#include <algorithm>

namespace lastcall {

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
    std::vector<std::string_view> parts;
    for (auto begin = text.find_first_not_of(separators); begin != std::string_view::npos;) {
        const auto end = std::min(text.find_first_of(separators, begin), text.size());
        parts.push_back(text.substr(begin, end - begin));
        begin = text.find_first_not_of(separators, end);
    }
    return parts;
}

}  // namespace lastcall
