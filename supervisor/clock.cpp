#include "supervisor/clock.hpp"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <map>
#include <system_error>

namespace lastcall {
namespace {

int new_alarm() {
    const int descriptor = ::timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (descriptor == -1) {
        throw std::system_error(errno, std::system_category(), "cannot create a timer");
    }
    return descriptor;
}

class BootClock final : public Clock {
 public:
    explicit BootClock(asio::any_io_executor executor) : alarm_(std::move(executor), new_alarm()) {}

    time_point now() const override {
        timespec at{};
        ::clock_gettime(CLOCK_BOOTTIME, &at);
        return time_point(std::chrono::seconds(at.tv_sec) + std::chrono::nanoseconds(at.tv_nsec));
    }

    utc_time utc() const override { return std::chrono::system_clock::now(); }

    awaitable<void> sleep_until(time_point deadline) override {
        if (deadline <= now()) co_return;
        // Asio's timer is only where the coroutine is parked: the kernel's timer cancels it.
        asio::steady_timer bed(alarm_.get_executor(), asio::steady_timer::time_point::max());
        const Place place(*this, deadline, bed);
        boost::system::error_code error;
        co_await bed.async_wait(asio::redirect_error(asio::use_awaitable, error));
        if (now() < deadline) throw boost::system::system_error(error);
    }

 private:
    using Beds = std::multimap<time_point, asio::steady_timer*>;

    struct Place {
        Place(BootClock& owner, time_point deadline, asio::steady_timer& bed)
            : clock(owner), bed_place(owner.beds_.emplace(deadline, &bed)) {
            clock.arm();
        }
        ~Place() {
            clock.beds_.erase(bed_place);
            clock.arm();
        }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        BootClock& clock;
        Beds::iterator bed_place;
    };

    /// Sets the kernel's timer to the first who wants to wake; nobody: no timer, no wake-up.
    void arm() {
        const time_point first = beds_.empty() ? never : beds_.begin()->first;
        if (first == armed_) return;
        armed_ = first;
        itimerspec at{};
        if (first == never) {
            ::timerfd_settime(alarm_.native_handle(), 0, &at, nullptr);
            listening_ = false;
            alarm_.cancel();
            return;
        }
        const auto since_boot = first.time_since_epoch();
        at.it_value.tv_sec = std::chrono::floor<std::chrono::seconds>(since_boot).count();
        at.it_value.tv_nsec = (since_boot % std::chrono::seconds(1)).count();
        ::timerfd_settime(alarm_.native_handle(), TFD_TIMER_ABSTIME, &at, nullptr);
        listen();
    }

    void listen() {
        if (listening_) return;
        listening_ = true;
        alarm_.async_wait(alarm_.wait_read, [this](const boost::system::error_code& error) {
            if (!error) rang();
        });
    }

    void rang() {
        listening_ = false;
        std::uint64_t times = 0;
        // EAGAIN: the timer was set to something later after it had rung.
        [[maybe_unused]] const auto got = ::read(alarm_.native_handle(), &times, sizeof times);
        const auto due = beds_.upper_bound(now());
        if (due == beds_.begin()) return listen();
        // They leave when they run, and so set the alarm for the next.
        for (auto bed = beds_.begin(); bed != due; ++bed) bed->second->cancel();
    }

    asio::posix::stream_descriptor alarm_;
    Beds beds_;
    time_point armed_ = never;
    bool listening_ = false;
};

}  // namespace

std::unique_ptr<Clock> boot_clock(asio::any_io_executor executor) {
    return std::make_unique<BootClock>(std::move(executor));
}

}  // namespace lastcall
