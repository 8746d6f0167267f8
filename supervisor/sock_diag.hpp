#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "supervisor/tcp_socket.hpp"

namespace lastcall {

/// The network namespace's TCP sockets by NETLINK_SOCK_DIAG (sock_diag(7)), both address families;
/// IPv4 clients of a dual-stack listener are among the IPv6 ones. Works without root and without
/// any capability. nullopt when the kernel doesn't answer (netlink forbidden by seccomp).
///
/// Those that are listened on:
std::optional<std::vector<TcpSocket>> sock_diag_listeners();

/// Those of these local ports (none: of all), in every state but LISTEN and TIME_WAIT. One dump,
/// whatever the number of ports; its cost is that of walking all of the namespace's sockets.
std::optional<std::vector<TcpSocket>> sock_diag_of(const std::set<std::uint16_t>& ports);

}  // namespace lastcall
