#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <ctime>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/chrono.h>
#include <fmt/format.h>

/// Microseconds of CLOCK_BOOTTIME (clock_gettime(2)): the clock that everybody's evidence shares.
inline std::int64_t boot_microseconds() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/// As a JSON string.
inline std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", c);
        } else {
            out += c;
        }
    }
    return out + '"';
}

/// What a test program has seen, as JSON Lines; one write(2) a line, so that it is whole whatever
/// happens next.
class Witness {
 public:
    /// An empty path: sees nothing. Throws std::runtime_error for one that can't be opened.
    explicit Witness(const std::string& path) {
        if (path.empty()) return;
        fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd_ < 0) throw std::runtime_error("cannot open '" + path + "'");
    }

    /// `facts` are further members of the object, ready to print.
    void write(std::string_view event, std::string_view facts = "") {
        if (fd_ < 0) return;
        timespec utc{};
        ::clock_gettime(CLOCK_REALTIME, &utc);
        const std::string line = fmt::format(
            "{{\"boot\":{},\"utc\":\"{:%Y-%m-%dT%H:%M:%S}.{:06}Z\",\"pid\":{},\"event\":\"{}\"{}{}}"
            "}\n",
            boot_microseconds(), fmt::gmtime(utc.tv_sec), utc.tv_nsec / 1000, ::getpid(), event,
            facts.empty() ? "" : ",", facts);
        if (::write(fd_, line.data(), line.size()) < 0) ::_exit(70);
    }

 private:
    int fd_ = -1;
};
