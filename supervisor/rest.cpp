#include "supervisor/rest.hpp"

namespace lastcall {
namespace {

constexpr auto latest_ack = 250ms;  // TCP_DELACK_MAX, and a tick or two
constexpr auto probes_after = 10s;  // no client sends keep-alive probes sooner
constexpr auto long_silence = 60s;  // proxies' usual limit for an answer

// Every listener's first data segment is acknowledged at once, before it can be answered
// (quick-ACK mode, net/ipv4/tcp_input.c).
constexpr std::uint32_t first_of_all = 1;

std::uint32_t bare_in(const TcpTraffic& traffic) {
    return traffic.segments_in - traffic.data_segments_in;
}
std::uint32_t bare_out(const TcpTraffic& traffic) {
    return traffic.segments_out - traffic.data_segments_out;
}

/// Nothing on its way, in either direction. The FIN of a client that won't send any more counts as
/// a byte until it is read.
bool is_quiet(const TcpSocket& socket) {
    if (socket.unsent != 0) return false;
    if (socket.state == TcpState::established) return socket.unread == 0;
    return socket.state == TcpState::close_wait && socket.unread <= 1;
}

}  // namespace

bool Rest::last_byte_was_ours(const TcpTraffic& traffic, Clock::time_point now) const {
    if (traffic.last_sent != traffic.last_received)
        return traffic.last_sent < traffic.last_received;
    const auto silence = traffic.last_sent;
    const bool acknowledged_later =
        traffic.last_ack_received < silence && silence - traffic.last_ack_received <= latest_ack;
    if (acknowledged_later) return true;
    if (silence < latest_ack) return false;  // a bare ACK may still come
    if (silence >= long_silence) return true;
    if (bare_out(traffic) <= first_of_all) return true;
    if (!mark_) return false;
    if (bare_out(traffic) == mark_->bare_out) return true;
    const bool too_old = now - mark_->at > probes_after;
    return !too_old &&
           bare_in(traffic) - mark_->bare_in >= traffic.data_segments_out - mark_->answers;
}

std::optional<Clock::time_point> Rest::look(const TcpSocket& socket, Clock::time_point now) {
    if (!socket.traffic || socket.traffic->data_segments_out == 0) return std::nullopt;
    const TcpTraffic& traffic = *socket.traffic;
    if (!is_quiet(socket) || !last_byte_was_ours(traffic, now)) return std::nullopt;
    mark_ = {.at = now,
             .bare_in = bare_in(traffic),
             .bare_out = bare_out(traffic),
             .answers = traffic.data_segments_out};
    return now - traffic.last_sent;
}

}  // namespace lastcall
