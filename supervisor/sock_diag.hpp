#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "supervisor/connections.hpp"

namespace lastcall {

/// A TCP socket that is listened on.
struct Listener {
    std::uint16_t port = 0;
    std::uint64_t inode = 0;  ///< what /proc/PID/fd shows as socket:[inode]
    bool loopback = false;    ///< bound to 127.0.0.0/8 or ::1
};

/// The network namespace's TCP sockets by NETLINK_SOCK_DIAG (sock_diag(7)): works without root and
/// without any capability. nullopt when the kernel doesn't answer (netlink forbidden by seccomp).
std::optional<std::vector<Listener>> listeners();

/// Open inbound connections of these local ports, both address families; IPv4 clients of a
/// dual-stack listener are among the IPv6 ones.
std::optional<std::vector<Connection>> connections_of(const std::set<std::uint16_t>& ports);

}  // namespace lastcall
