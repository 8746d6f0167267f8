#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/await.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// What a service manager (systemd) tells the service that it has started.
struct ServiceManagerWishes {
    std::string socket;                       ///< NOTIFY_SOCKET; empty: it wants to hear nothing
    std::optional<Clock::duration> watchdog;  ///< WATCHDOG_USEC, if it is meant for us
    /// From the environment, and out of it: it is for us alone, not for our tasks.
    static ServiceManagerWishes take();
};

/// The service manager that has started us, as far as it wants to hear of us: the protocol of
/// sd_notify(3), one datagram a message. Nothing waits for it; without one every call does nothing.
class ServiceManager {
 public:
    struct Surroundings {
        Clock& clock;
        Log& log;
        std::function<std::string()> status;        ///< one line for people
        std::function<Clock::duration()> stopping;  ///< what a shutdown still needs at most
    };
    ServiceManager(asio::any_io_executor executor, ServiceManagerWishes wishes,
                   Surroundings around);
    ~ServiceManager();
    ServiceManager(const ServiceManager&) = delete;
    ServiceManager& operator=(const ServiceManager&) = delete;

    void ready();
    /// We are about to execute ourselves anew; the new image, or this one if that fails, is
    /// `ready`.
    void reloading();
    /// The status may have changed; cheap.
    void changed();
    /// Tells changes of the status, one a second at most, and keeps the watchdog quiet. For ever;
    /// wakes nobody up while nothing changes and there is no watchdog.
    awaitable<void> work();
    /// Tells that we stop, and asks for the time that it takes, again and again. For ever.
    awaitable<void> work_while_stopping();

 private:
    awaitable<void> tell_changes();
    awaitable<void> keep_watchdog();
    std::string news();
    void send(const std::string& message);

    ServiceManagerWishes wishes_;
    Surroundings around_;
    Bell changed_;
    int socket_ = -1;
    std::string told_;  ///< the status, last
    bool is_ready_ = false;
    bool said_trouble_ = false;
};

}  // namespace lastcall
