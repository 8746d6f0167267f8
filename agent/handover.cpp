#include "agent/handover.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "agent/inherited_listeners.hpp"

namespace lastcall {
namespace {

/// The next word up to `end`, which is taken away with it.
std::string_view word(std::string_view& text, char end) {
    const auto at = std::min(text.find(end), text.size());
    const auto found = text.substr(0, at);
    text.remove_prefix(std::min(at + 1, text.size()));
    return found;
}

template <class Number>
bool read(std::string_view text, Number& to, int base = 10) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to, base);
    return error == std::errc() && end == text.data() + text.size();
}

bool read_listeners(std::string_view text, std::vector<int>& to) {
    while (!text.empty()) {
        if (!read(word(text, ','), to.emplace_back())) return false;
    }
    return true;
}

bool read_limit(std::string_view text, std::optional<rlimit>& to) {
    to.emplace();
    const auto soft = word(text, ':');
    return read(soft, to->rlim_cur) && read(text, to->rlim_max);
}

/// The kernel's part of a mask: 64 signals.
std::uint64_t bits(const sigset_t& mask) {
    std::uint64_t value = 0;
    std::memcpy(&value, &mask, sizeof value);
    return value;
}

bool read_mask(std::string_view text, sigset_t& to) {
    std::uint64_t value = 0;
    if (!read(text, value, 16)) return false;
    to = {};
    std::memcpy(&to, &value, sizeof value);
    return true;
}

/// The descriptors live through execve, unless it fails: then they are as they were.
class Kept {
 public:
    explicit Kept(const Handover& handover) : descriptors_(handover.listeners) {
        // What a library opened may lack the mark, and would be held open for ever.
        for (const int each : open_descriptors()) {
            const auto& not_ours = handover.inherited_descriptors;
            if (std::ranges::count(not_ours, each) == 0) ::fcntl(each, F_SETFD, FD_CLOEXEC);
        }
        descriptors_.push_back(handover.lock);
        mark(0);
    }
    ~Kept() { mark(FD_CLOEXEC); }
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;

 private:
    void mark(int flags) {
        for (const int each : descriptors_) ::fcntl(each, F_SETFD, flags);
    }
    std::vector<int> descriptors_;
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
}

}  // namespace

std::string Handover::text() const {
    std::string text = fmt::format("{} lock={} listeners={} since={} mask={:016x} sigchld={}",
                                   handover_version, lock, fmt::join(listeners, ","), silent_since,
                                   bits(inherited.mask), inherited.ignores_sigchld ? 1 : 0);
    if (inherited.open_files) {
        text += fmt::format(" files={}:{}", inherited.open_files->rlim_cur,
                            inherited.open_files->rlim_max);
    }
    return text;
}

std::optional<Handover> Handover::from(std::string_view text) {
    int version = 0;
    if (!read(word(text, ' '), version) || version != handover_version) return std::nullopt;
    Handover handover;
    bool lock = false, listeners = false, since = false, mask = false, sigchld = false;
    while (!text.empty()) {
        auto value = word(text, ' ');
        const auto key = word(value, '=');
        bool good = false;
        int number = 0;
        if (key == "lock") good = lock = read(value, handover.lock);
        if (key == "listeners") good = listeners = read_listeners(value, handover.listeners);
        if (key == "since") good = since = read(value, handover.silent_since);
        if (key == "mask") good = mask = read_mask(value, handover.inherited.mask);
        if (key == "sigchld") good = sigchld = read(value, number);
        if (key == "sigchld") handover.inherited.ignores_sigchld = number != 0;
        if (key == "files") good = read_limit(value, handover.inherited.open_files);
        if (!good) return std::nullopt;
    }
    if (!lock || !listeners || !since || !mask || !sigchld) return std::nullopt;
    return handover;
}

std::optional<Handover> take_handover() {
    const char* const value = std::getenv(handover_variable);
    if (!value) return std::nullopt;
    const std::string text = value;
    ::unsetenv(handover_variable);
    if (auto handover = Handover::from(text)) return handover;
    throw std::runtime_error(
        fmt::format("cannot take over: {} is '{}', which only an agent that executes itself sets",
                    handover_variable, text));
}

int execute(const std::string& binary, const std::vector<std::string>& arguments,
            const std::vector<std::string>& environment, const Handover& handover) {
    auto with_handover = environment;
    with_handover.push_back(fmt::format("{}={}", handover_variable, handover.text()));
    const auto argv = pointers(arguments);
    const auto envp = pointers(with_handover);
    const Kept kept(handover);
    ::execve(binary.c_str(), argv.data(), envp.data());
    return errno;
}

}  // namespace lastcall
