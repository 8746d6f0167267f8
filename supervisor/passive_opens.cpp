#include "supervisor/passive_opens.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

namespace lastcall {
namespace {

/// The next word of a line, and the rest behind it.
std::string_view take_word(std::string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const auto word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    return word;
}

std::string_view take_line(std::string_view& text) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    return line;
}

}  // namespace

std::optional<std::uint64_t> passive_opens() {
    const int descriptor = ::open("/proc/net/snmp", O_RDONLY | O_CLOEXEC);
    if (descriptor == -1) return std::nullopt;
    char buffer[8192];
    const ssize_t size = ::read(descriptor, buffer, sizeof buffer);
    ::close(descriptor);
    if (size <= 0) return std::nullopt;
    // Two lines each: "Tcp: RtoAlgorithm … PassiveOpens …", "Tcp: 1 … 4711 …".
    std::string_view text(buffer, static_cast<std::size_t>(size));
    while (!text.empty()) {
        auto names = take_line(text), values = take_line(text);
        if (take_word(names) != "Tcp:" || take_word(values) != "Tcp:") continue;
        while (!names.empty()) {
            const auto name = take_word(names), value = take_word(values);
            if (name != "PassiveOpens") continue;
            std::uint64_t count = 0;
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), count);
            if (error != std::errc{}) return std::nullopt;
            return count;
        }
    }
    return std::nullopt;
}

}  // namespace lastcall
