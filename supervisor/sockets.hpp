#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "supervisor/await.hpp"
#include "supervisor/close_events.hpp"
#include "supervisor/log.hpp"
#include "supervisor/tcp_socket.hpp"

namespace lastcall {

/// The network namespace's TCP sockets, looked at and listened to for all tasks together: however
/// many drain at once, there is one subscription to the kernel's close events and one look a
/// second, which is the safety net for what no event tells.
///
/// What can't be had is replaced, and said once: no events by looks that come as often as few are
/// left (every 10 ms) to at most every 250 ms; no netlink at all by /proc/net/tcp. Nobody draining
/// costs nothing.
class Sockets {
 public:
    /// One task's part, while it waits for its connections to close. Filled here, emptied by its
    /// owner; the bell rings when there is something in it.
    struct Inbox {
        explicit Inbox(asio::any_io_executor executor) : bell(std::move(executor)) {}
        std::set<std::uint16_t> ports;
        std::vector<std::uint64_t> closed;  ///< cookies
        bool looked = false;                ///< a look was taken: this one; none: it failed
        std::optional<std::vector<TcpSocket>> look;
        std::optional<std::uint64_t> opens;  ///< passive_opens before that look
        Bell bell;
    };

    /// All outlive it; the executor's context is not run any more when it dies.
    Sockets(asio::any_io_executor executor, Clock& clock, Log& log);

    struct Listeners {
        /// Owned by all who look at them: of a thousand tasks each may keep a thousand.
        std::shared_ptr<const std::vector<TcpSocket>> sockets;
        std::uint64_t version = 0;  ///< another one: other sockets
    };
    /// Those that are listened on, at most `age` ago; null when nothing can be known. Good until
    /// the next call.
    const Listeners* listeners(Clock::duration age);
    /// Those of these local ports, now, in every state but LISTEN and TIME_WAIT.
    std::optional<std::vector<TcpSocket>> of(const std::set<std::uint16_t>& ports);
    /// How many of these ports are open, at most a tenth of a second ago: one look for all who ask
    /// in that time.
    std::optional<std::int64_t> count(const std::set<std::uint16_t>& ports);

    /// From here on the inbox is filled, until `leave`.
    void join(Inbox& inbox);
    void leave(Inbox& inbox);
    /// Say so when the ports of an inbox have changed.
    void ports_changed();

 private:
    awaitable<void> hear_of_closes(std::shared_ptr<CloseEvents> events);
    std::optional<std::vector<TcpSocket>> look_for_listeners();
    awaitable<void> look_regularly();
    void look();
    void begin();
    void tell(const CloseEvents::News& news);
    Clock::duration pause() const;
    void do_without_netlink();
    void say_without_events(const std::string& trouble);

    asio::any_io_executor executor_;
    Clock& clock_;
    Log& log_;
    Gate gate_;
    Bell sooner_;  ///< look at once, or see that nobody is left
    std::set<Inbox*> inboxes_;
    std::shared_ptr<CloseEvents> events_;  ///< the coroutine that reads them owns them too
    Listeners listeners_;
    std::set<std::uint64_t> listening_;              ///< their inodes
    std::optional<Clock::time_point> listened_at_;   ///< when they were looked at
    std::map<std::uint16_t, std::int64_t> counted_;  ///< open ones by port, of the namespace …
    std::optional<Clock::time_point> counted_at_;    ///< … then
    bool looking_ = false;                           ///< look_regularly is alive
    bool by_proc_ = false;                           ///< netlink is forbidden: from /proc
    bool without_events_ = false;                    ///< they can't be had
    bool lost_ = false;                              ///< events; a look is due
    std::size_t left_ = 0;                           ///< open ones, at the last look
    Clock::duration cost_{};                         ///< of the last look
};

}  // namespace lastcall
