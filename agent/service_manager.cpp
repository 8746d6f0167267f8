#include "agent/service_manager.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace lastcall {
namespace {

constexpr auto between_changes = 1s;
/// Over what a shutdown needs at most: until the process is gone, on a busy machine.
constexpr auto margin = 10s;

/// The variable's value, which it then no longer has.
std::string take_variable(const char* name) {
    const char* const value = std::getenv(name);
    std::string text = value ? value : "";
    ::unsetenv(name);
    return text;
}

std::optional<std::int64_t> number_in(const std::string& text) {
    std::int64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || number <= 0) return std::nullopt;
    return number;
}

std::int64_t microseconds(Clock::duration duration) {
    return std::chrono::ceil<std::chrono::microseconds>(duration).count();
}

}  // namespace

ServiceManagerWishes ServiceManagerWishes::take() {
    ServiceManagerWishes wishes{.socket = take_variable("NOTIFY_SOCKET")};
    const auto interval = number_in(take_variable("WATCHDOG_USEC"));
    const std::string pid = take_variable("WATCHDOG_PID");
    const bool ours = pid.empty() || number_in(pid) == ::getpid();
    if (interval && ours) wishes.watchdog = std::chrono::microseconds(*interval);
    return wishes;
}

ServiceManager::ServiceManager(asio::any_io_executor executor, ServiceManagerWishes wishes,
                               Surroundings around)
    : wishes_(std::move(wishes)), around_(std::move(around)), changed_(std::move(executor)) {
    if (wishes_.socket.empty()) return;
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

ServiceManager::~ServiceManager() {
    if (socket_ != -1) ::close(socket_);
}

void ServiceManager::ready() {
    is_ready_ = true;
    send("READY=1" + news());
}

void ServiceManager::reloading() { send("RELOADING=1"); }

void ServiceManager::changed() {
    if (socket_ != -1 && is_ready_) changed_.ring();
}

awaitable<void> ServiceManager::work() {
    if (socket_ == -1) co_return;
    std::vector<awaitable<void>> both;
    both.push_back(tell_changes());
    if (wishes_.watchdog) both.push_back(keep_watchdog());
    auto working = all(std::move(both));
    co_await std::move(working);
}

awaitable<void> ServiceManager::tell_changes() {
    for (;;) {
        co_await changed_.heard();
        const std::string changes = news();
        if (!changes.empty()) send(changes.substr(1));
        co_await around_.clock.sleep_until(after(around_.clock.now(), between_changes));
    }
}

awaitable<void> ServiceManager::keep_watchdog() {
    for (;;) {
        send("WATCHDOG=1");
        co_await around_.clock.sleep_until(after(around_.clock.now(), *wishes_.watchdog / 2));
    }
}

awaitable<void> ServiceManager::work_while_stopping() {
    if (socket_ == -1) co_return;
    std::string first = "STOPPING=1\n";
    for (;;) {
        const auto needed = microseconds(around_.stopping() + margin);
        send(fmt::format("{}EXTEND_TIMEOUT_USEC={}{}", first, needed, news()));
        first.clear();
        co_await around_.clock.sleep_until(after(around_.clock.now(), between_changes));
    }
}

/// "\nSTATUS=…" if that isn't what was told last.
std::string ServiceManager::news() {
    std::string status = around_.status();
    if (status == told_) return {};
    told_ = std::move(status);
    return "\nSTATUS=" + told_;
}

void ServiceManager::send(const std::string& message) {
    if (socket_ == -1) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto& path = wishes_.socket;
    const bool fits = path.size() < sizeof address.sun_path;
    if (fits) std::memcpy(address.sun_path, path.data(), path.size());
    if (path.front() == '@') address.sun_path[0] = '\0';  // an abstract one: its length tells where
    const auto size = offsetof(sockaddr_un, sun_path) + path.size();
    errno = ENAMETOOLONG;
    const bool sent = fits && ::sendto(socket_, message.data(), message.size(), MSG_NOSIGNAL,
                                       reinterpret_cast<const sockaddr*>(&address),
                                       static_cast<socklen_t>(size)) >= 0;
    if (sent || said_trouble_) return;
    said_trouble_ = true;
    around_.log.say(Level::warn, "The service manager can't be told",
                    {{"notifySocket", path}, {"error", std::generic_category().message(errno)}});
}

}  // namespace lastcall
