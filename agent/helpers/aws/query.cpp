#include "agent/helpers/aws/query.hpp"

#include <fmt/format.h>

namespace lastcall::aws {
namespace {

std::string escaped(std::string_view text) {
    std::string result;
    for (const char c : text) {
        const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
                                c == '~';
        if (unreserved) {
            result += c;
        } else {
            result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return result;
}

}  // namespace

Query::Query(std::string action, std::string_view version) : action_(std::move(action)) {
    add("Action", action_).add("Version", version);
}

Query& Query::add(std::string_view name, std::string_view value) {
    if (!body_.empty()) body_ += '&';
    body_ += escaped(name) + "=" + escaped(value);
    return *this;
}

}  // namespace lastcall::aws
