#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "supervisor/tcp_socket.hpp"

namespace lastcall {

/// The network namespace's TCP sockets of these local ports from /proc/net/tcp and /proc/net/tcp6
/// (proc(5)), for where netlink is forbidden; `ports` empty: those that are listened on, on
/// whatever port. nullopt if they can't be read to their end; a missing tcp6 is a kernel without
/// IPv6. Their `traffic` and `cgroup` are unknown; those in TIME_WAIT are left out.
///
/// The kernel brings the table in pieces: a socket may be missed, or be there twice, if another of
/// its hash bucket closes in between.
std::optional<std::vector<TcpSocket>> proc_net_tcp(const std::set<std::uint16_t>& ports);

/// Appends what the text of such a file holds; `v6`: it is tcp6's. Pure. What is no line of it is
/// passed over.
///
/// No cookie stands there: it is made of both addresses and ports (a listener's of its inode too,
/// which tells those that share a port by SO_REUSEPORT apart), so that it is the same before and
/// after `accept`. A client that closes and comes again from the same port, between two looks, is
/// taken for the same connection; and so are two of the same addresses and ports in different VRFs.
void read_proc_net_tcp(std::string_view text, bool v6, const std::set<std::uint16_t>& ports,
                       std::vector<TcpSocket>& found);

}  // namespace lastcall
