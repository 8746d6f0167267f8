#pragma once
#include <dirent.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/await.hpp"
#include "supervisor/log.hpp"
#include "tests/live/real_clock.hpp"

namespace lastcall {

/// Keeps what is said.
class RecordingLog : public Log {
 public:
    void say(Level, std::string_view message, std::initializer_list<Field>) override {
        lines.emplace_back(message);
    }
    std::size_t count(std::string_view part) const {
        std::size_t found = 0;
        for (const auto& line : lines) found += line.find(part) != std::string::npos;
        return found;
    }
    std::vector<std::string> lines;
};

/// What a coroutine in the background has come to, once it has.
template <class T>
using Later = std::shared_ptr<std::optional<T>>;

/// One thread, real time, and a bound on everything.
struct World {
    asio::io_context io{1};
    RealClock clock;
    RecordingLog log;

    /// Runs a test's coroutine to its end; what it throws fails the test, and so do `limit`
    /// seconds.
    void run(awaitable<void> body, Clock::duration limit = 20s) {
        std::exception_ptr failure;
        bool ended = false;
        auto bounded = [](World& world, awaitable<void> work,
                          Clock::duration most) -> awaitable<void> {
            const auto deadline = world.clock.now() + most;
            const auto in_time = co_await before(world.clock, deadline, done(std::move(work)));
            if (!in_time) throw std::runtime_error("the test took too long");
        };
        asio::co_spawn(io, bounded(*this, std::move(body), limit), [&](std::exception_ptr error) {
            failure = error;
            ended = true;
        });
        io.restart();
        while (!ended) io.run_one();
        if (failure) std::rethrow_exception(failure);
    }

    template <class T>
    Later<T> background(awaitable<T> work) {
        auto later = std::make_shared<std::optional<T>>();
        asio::co_spawn(io, std::move(work), [later](std::exception_ptr error, T result) {
            if (!error) *later = std::move(result);
        });
        return later;
    }

    /// Waits until it is so: looks again every few milliseconds, fails after five seconds.
    awaitable<void> until(const char* what, std::function<bool()> so) {
        const auto limit = clock.now() + 5s;
        while (!so()) {
            if (clock.now() > limit)
                throw std::runtime_error(std::string("it never came: ") + what);
            co_await clock.sleep_until(clock.now() + 5ms);
        }
    }
};

/// How many file descriptors this process has open.
inline std::size_t open_files() {
    std::size_t count = 0;
    DIR* const folder = ::opendir("/proc/self/fd");
    while (::readdir(folder)) ++count;
    ::closedir(folder);
    return count;
}

}  // namespace lastcall
