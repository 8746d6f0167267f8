#include "agent/helpers/aws/surroundings.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace lastcall::aws {
namespace {

constexpr std::size_t largest_file = 1U << 20U;

std::optional<std::string> variable(const std::string& name) {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
}

struct Descriptor {
    ~Descriptor() {
        if (fd != -1) ::close(fd);
    }
    int fd;
};

[[noreturn]] void cannot_read(const std::string& path) {
    throw std::runtime_error(
        fmt::format("cannot read {}: {}", path, std::system_category().message(errno)));
}

std::optional<std::string> file(const std::string& path) {
    // A fifo without a writer must not hold us.
    const Descriptor open{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (open.fd == -1 && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
    if (open.fd == -1) cannot_read(path);
    std::string text;
    std::array<char, 16384> piece{};
    for (;;) {
        const ssize_t got = ::read(open.fd, piece.data(), piece.size());
        if (got == -1 && errno == EINTR) continue;
        if (got == -1) cannot_read(path);
        if (got == 0) return text;
        text.append(piece.data(), static_cast<std::size_t>(got));
        if (text.size() > largest_file) {
            throw std::runtime_error(fmt::format("cannot read {}: it is larger than 1 MiB", path));
        }
    }
}

std::string home() {
    if (const auto named = variable("HOME")) return *named;
    const passwd* const user = ::getpwuid(::getuid());
    return user == nullptr || user->pw_dir == nullptr ? "" : user->pw_dir;
}

}  // namespace

Surroundings surroundings() { return {variable, file, home}; }

}  // namespace lastcall::aws
