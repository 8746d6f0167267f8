#include "agent/helpers/aws/excerpt.hpp"

#include <fmt/format.h>

namespace lastcall::aws {
namespace {

/// How many bytes at the beginning of `text` are one UTF-8 character (RFC 3629); 0: none are.
std::size_t character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    if (byte(0) < 0x80) return 1;
    const std::size_t size = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
    if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < size) return 0;
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return 0;
    }
    const bool overlong =
        (byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xf0 && byte(1) < 0x90);
    const bool surrogate = byte(0) == 0xed && byte(1) >= 0xa0;
    const bool beyond = byte(0) == 0xf4 && byte(1) >= 0x90;
    return overlong || surrogate || beyond ? 0 : size;
}

}  // namespace

std::string excerpt(std::string_view text, std::size_t longest) {
    std::string result;
    while (!text.empty()) {
        const std::size_t size = character(text);
        const auto first = static_cast<unsigned char>(text[0]);
        const bool plain = size > 1 || (size == 1 && first >= 0x20 && first != 0x7f);
        const std::string next =
            plain ? std::string(text.substr(0, size)) : fmt::format("\\x{:02x}", first);
        if (result.size() + next.size() > longest) return result + "…";
        result += next;
        text.remove_prefix(plain ? size : 1);
    }
    return result;
}

std::string quoted(std::string_view text, std::size_t longest) {
    return "'" + excerpt(text, longest) + "'";
}

}  // namespace lastcall::aws
