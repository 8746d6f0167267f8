#include "agent/log_cap.hpp"

#include <fmt/format.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <stdexcept>

#include "agent/log_copy.hpp"
#include "supervisor/await.hpp"

namespace lastcall {
namespace {

constexpr auto rest = 1s;

/// Tells when something was written in a directory, once each time that it is asked: who writes a
/// lot isn't slowed down, nor are we woken, by what nobody waits for.
class Writing {
 public:
    Writing(asio::any_io_executor executor, std::string directory)
        : directory_(std::move(directory)), inotify_(executor, made()) {}

    /// Throws std::runtime_error "cannot …" if there is no such directory.
    void listen() {
        watch_ = ::inotify_add_watch(
            inotify_.native_handle(), directory_.c_str(),
            IN_MODIFY | IN_ONLYDIR | IN_DONT_FOLLOW | IN_DELETE_SELF | IN_MOVE_SELF);
        if (watch_ == -1) fail("watch the logs in");
    }
    awaitable<void> heard() {
        co_await inotify_.async_wait(asio::posix::stream_descriptor::wait_read, use_awaitable);
        ::inotify_rm_watch(inotify_.native_handle(), watch_);
        char events[4096];
        while (::read(inotify_.native_handle(), events, sizeof events) > 0) {
        }
    }

 private:
    int made() const {
        const int descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (descriptor == -1) fail("watch the logs in");
        return descriptor;
    }
    [[noreturn]] void fail(const char* what) const {
        throw std::runtime_error(
            fmt::format("cannot {} '{}': {}", what, directory_, std::strerror(errno)));
    }

    std::string directory_;
    asio::posix::stream_descriptor inotify_;
    int watch_ = -1;
};

/// Lets the disk's thread look, and copy; returns when that is done.
awaitable<std::set<std::string>> look(Disk& disk, std::string directory, std::uint64_t cap) {
    /// Two own it: the coroutine, which may be cancelled, and the disk's work.
    struct Look {
        explicit Look(asio::any_io_executor executor) : over(std::move(executor)) {}
        Event over;
        std::set<std::string> complaints;  ///< the disk's thread's, until it is over
    };
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const auto going_on = std::make_shared<Look>(executor);
    const auto complain = [going_on](const std::string& path, const std::string& why) {
        going_on->complaints.insert(fmt::format("cannot cap the log '{}': {}", path, why));
    };
    auto copies = std::make_shared<LogCopies>(std::move(directory), cap, complain);
    disk.spare([copies = std::move(copies), going_on, executor] {
        if (copies->step()) return true;
        asio::post(executor, [going_on] { going_on->over.set(); });
        return false;
    });
    co_await going_on->over.wait();
    co_return going_on->complaints;
}

}  // namespace

awaitable<void> cap_logs(Clock& clock, Disk& disk, Log& log, LogCap cap) {
    const auto executor = co_await asio::this_coro::executor;
    Writing writing(executor, cap.directory);
    std::set<std::string> said;
    Clock::duration patience = rest;
    for (;;) {
        std::set<std::string> complaints;
        // Listening begins before the look: what is written during it is heard.
        try {
            writing.listen();
        } catch (const std::runtime_error& error) {
            complaints.insert(error.what());
        }
        const bool listens = complaints.empty();
        if (listens) {
            auto looking = look(disk, cap.directory, cap.size);
            complaints = co_await std::move(looking);
        }
        for (const auto& each : complaints) {
            if (said.contains(each)) continue;
            log.say(Level::warn, "Log of a task isn't capped", {{"error", each}});
        }
        said = complaints;
        patience = listens ? rest : std::min<Clock::duration>(patience * 2, 64s);
        if (listens) {
            co_await writing.heard();
        } else if (cap.missing) {
            cap.missing();
        }
        co_await clock.sleep_until(after(clock.now(), patience));
    }
}

}  // namespace lastcall
