#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace lastcall {

/// The other side's address; IPv4 as ::ffff:a.b.c.d (RFC 4291), so that a client of a dual-stack
/// listener is the same whichever way the kernel shows it.
using PeerAddress = std::array<unsigned char, 16>;

/// include/net/tcp_states.h's numbers; the kernel exports no header with them that libc's doesn't
/// clash with.
enum class TcpState : std::uint8_t {
    established = 1,
    syn_sent,
    syn_recv,
    fin_wait1,
    fin_wait2,
    time_wait,
    close,
    close_wait,
    last_ack,
    listen,
    closing,
};

/// What tcp_info (tcp(7), linux/tcp.h) says of a connection's traffic. Times are ago, in steps of
/// the kernel's tick (1 to 10 ms); they count from the handshake while there is none.
struct TcpTraffic {
    std::chrono::milliseconds last_sent{}, last_received{};  ///< data
    std::chrono::milliseconds last_ack_received{};
    std::uint64_t bytes_sent = 0, bytes_received = 0;
    std::uint32_t data_segments_in = 0, data_segments_out = 0;
    std::uint32_t segments_in = 0, segments_out = 0;  ///< all of them: bare ACKs too
};

/// One TCP socket of the network namespace, as the kernel tells it.
struct TcpSocket {
    std::uint64_t cookie = 0;  ///< unique while the machine is up
    std::uint16_t port = 0;    ///< ours
    PeerAddress peer{};
    TcpState state{};
    std::uint32_t unread = 0;  ///< bytes that our side hasn't read; of a listener: not yet accepted
    std::uint32_t unsent = 0;  ///< bytes that the other side hasn't acknowledged; a FIN is one
    std::uint64_t inode = 0;   ///< what /proc/PID/fd shows as socket:[inode]; 0: nobody's yet, or
                               ///< nobody's any more
    std::uint64_t cgroup = 0;  ///< of who made it or its listener: the inode of the cgroup v2
                               ///< directory; 0: unknown
    bool loopback = false;     ///< bound to 127.0.0.0/8 or ::1
    std::optional<TcpTraffic> traffic;
    /// Our ACKs wait for data to go with (pingpong mode, net/ipv4/tcp_ipv4.c); /proc alone shows
    /// it.
    std::optional<bool> interactive;
};

/// Whether somebody may still be waiting at the other end. A connection that the service has
/// closed counts until the client has the last byte; the FIN behind it counts as one.
bool is_open(const TcpSocket& socket);

/// "10.0.0.7", "2001:db8::7".
std::string to_string(const PeerAddress& peer);

}  // namespace lastcall
