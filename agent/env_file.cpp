#include "agent/env_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "agent/config/complaint.hpp"

namespace lastcall {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";  // as some editors write it
constexpr std::string_view spaces = " \t\v\f";

[[noreturn]] void cannot_read(const std::string& path) {
    throw std::runtime_error(
        fmt::format("cannot read the environment file '{}': {}", path, std::strerror(errno)));
}

std::string contents(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file == -1) cannot_read(path);
    std::string text;
    char block[4096];
    ssize_t got = 0;
    while ((got = ::read(file, block, sizeof block)) > 0) {
        text.append(block, static_cast<std::size_t>(got));
    }
    const int error = errno;
    ::close(file);
    errno = error;
    if (got == -1) cannot_read(path);
    return text;
}

bool is_name(std::string_view name) {
    return !name.empty() && name.find_first_of(spaces) == std::string_view::npos;
}

}  // namespace

std::vector<std::string> read_env_file(const std::string& path,
                                       const std::map<std::string, std::string>& ours) {
    const std::string text = contents(path);
    std::vector<std::string> variables;
    std::string_view left = text;
    if (left.starts_with(byte_order_mark)) left.remove_prefix(byte_order_mark.size());
    for (int number = 1; !left.empty(); ++number) {
        auto line = left.substr(0, left.find('\n'));
        left.remove_prefix(std::min(line.size() + 1, left.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        line.remove_prefix(std::min(line.find_first_not_of(spaces), line.size()));
        if (line.empty() || line.starts_with('#')) continue;
        const auto equals = line.find('=');
        const std::string name(line.substr(0, equals));
        if (!is_name(name) || line.find('\0') != std::string_view::npos) {
            throw std::runtime_error(
                fmt::format("cannot use the environment file '{}': line {} has {}, not NAME=value, "
                            "NAME, a comment or blank",
                            path, number, quoted(name)));
        }
        if (equals != std::string_view::npos) {
            variables.emplace_back(line);
        } else if (const auto found = ours.find(name); found != ours.end()) {
            variables.push_back(fmt::format("{}={}", name, found->second));
        }
    }
    return variables;
}

}  // namespace lastcall
