#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "supervisor/clock.hpp"
#include "supervisor/tcp_socket.hpp"

namespace lastcall {

/// One open inbound connection, as the kernel tells it: somebody who waits, or may ask again. Those
/// that no `accept` has taken yet are among them, and those that the service has closed while bytes
/// for the client are still on their way.
struct Connection {
    std::uint16_t port = 0;  ///< ours
    PeerAddress peer{};
    /// Since when it has been at rest: nothing unread, nothing unsent, the last byte was ours.
    /// None while somebody owes somebody an answer.
    std::optional<Clock::time_point> rests_since;
};

/// By the socket's cookie, which is unique while the machine is up.
using Connections = std::unordered_map<std::uint64_t, Connection>;

/// The kernel's word on a task's connections. An interface, because tests need a kernel that
/// follows virtual time.
class Evidence {
 public:
    /// What happened since the last one.
    struct News {
        std::vector<std::uint64_t> closed;  ///< cookies; one never seen came and went between looks
        bool looked = false;                ///< a look was taken, as `open` does; its answer:
        std::optional<Connections> open;
    };

    virtual ~Evidence() = default;
    /// The task's open connections now; nullopt when nothing can be known (no port is known, the
    /// kernel doesn't answer). No evidence isn't zero.
    virtual std::optional<Connections> open() = 0;
    /// False: nobody has come since the last look, so what has closed since then is all.
    virtual bool may_have_grown() = 0;
    /// How many there are, a tenth of a second ago at most; two tasks that share a port are not
    /// told apart. Cheap however many tasks are asked: for people.
    virtual std::optional<std::int64_t> count() = 0;
    /// Why there is none, or what is odd about it, for people; empty: nothing.
    virtual std::string trouble() const = 0;

    /// From here on, until `unwatch`, the kernel tells. `rest`: who is at rest matters, and what
    /// tells it may cost more.
    virtual void watch(bool rest) = 0;
    virtual void unwatch() = 0;
    /// Waits for news, while watched: closes in the moment that they happen, and a look once a
    /// second. For one listener.
    virtual awaitable<News> news() = 0;

    /// Whether one of the task's ports is listened on; nullopt when that can't be known.
    virtual std::optional<bool> listening() = 0;
    /// A load balancer named a port of the task; no effect where the configuration names them.
    virtual void named(std::uint16_t port) = 0;
    /// The ports that count, as far as they are known.
    virtual std::set<std::uint16_t> ports() const = 0;
};

class Process;
class Sockets;

/// The real evidence. `configured` ports win; else those that load balancers name; else those
/// found (Ports).
std::unique_ptr<Evidence> task_connections(Clock& clock, asio::any_io_executor executor,
                                           Sockets& sockets, std::vector<std::uint16_t> configured,
                                           std::vector<Process*> processes, bool whole_namespace);

}  // namespace lastcall
