#include "agent/config/complaint.hpp"

#include <fmt/format.h>

namespace lastcall {

std::string quoted(std::string_view text) {
    constexpr std::size_t longest = 80;
    if (text.size() <= longest) return fmt::format("'{}'", text);
    std::size_t end = longest;
    const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
    while (end > 0 && continues(text[end])) --end;  // UTF-8 is cut between characters
    return fmt::format("'{}…'", text.substr(0, end));
}

void warn(Reading& reading, std::string_view trouble, std::string_view used) {
    reading.out.warnings.push_back(
        fmt::format("{} is {}, {}: using {}", reading.origin, quoted(reading.text), trouble, used));
}

}  // namespace lastcall
