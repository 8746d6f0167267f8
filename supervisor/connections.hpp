#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/clock.hpp"

namespace lastcall {

/// One open inbound connection, as the kernel tells it (sock_diag(7), tcp(7)): ESTABLISHED,
/// SYN_RECV or CLOSE_WAIT. Those that no `accept` has taken yet are among them.
struct Connection {
    std::uint64_t cookie = 0;  ///< the socket's, unique while the machine is up
    std::uint16_t port = 0;    ///< ours
    std::string peer;          ///< its numeric address
    /// Since when it has been at rest: nothing unread, nothing unsent, the last byte was ours.
    /// None while somebody owes somebody an answer.
    std::optional<Clock::duration> at_rest;
};

/// The kernel's word on a task's connections. An interface, because tests need a kernel that
/// follows virtual time.
class Evidence {
 public:
    virtual ~Evidence() = default;
    /// The task's open connections now; nullopt when nothing can be known (no port is known, the
    /// kernel doesn't answer). No evidence isn't zero.
    virtual std::optional<std::vector<Connection>> open() = 0;
    /// Whether one of the task's ports is listened on; nullopt when that can't be known.
    virtual std::optional<bool> listening() = 0;
    /// A load balancer named a port of the task; no effect where the configuration names them.
    virtual void named(std::uint16_t port) = 0;
};

class Process;

/// The real evidence, by sock_diag. `configured` ports win; else those that load balancers name;
/// else those found: with `whole_namespace` (as PID 1) every non-loopback TCP listener that isn't
/// the agent's own, otherwise what the processes' trees listen on.
std::unique_ptr<Evidence> task_connections(Clock& clock, std::vector<std::uint16_t> configured,
                                           std::vector<Process*> processes, bool whole_namespace);

}  // namespace lastcall
