#include "supervisor/rest.hpp"

namespace lastcall {
namespace {

constexpr auto latest_ack = 250ms;  // TCP_DELACK_MAX, and a tick or two
constexpr auto long_silence = 60s;  // many a proxy's limit for an answer

// Every connection's first data segment is acknowledged at once, before it can be answered
// (quick-ACK mode, net/ipv4/tcp_input.c).
constexpr std::uint32_t first_of_all = 1;

/// Nothing on its way, in either direction. The FIN of a client that won't send any more counts as
/// a byte until it is read.
bool is_quiet(const TcpSocket& socket) {
    if (socket.unsent != 0) return false;
    if (socket.state == TcpState::established) return socket.unread == 0;
    return socket.state == TcpState::close_wait && socket.unread <= 1;
}

}  // namespace

Rest::Last Rest::last_byte(const TcpTraffic& traffic) const {
    const auto silence = traffic.last_sent;
    if (silence != traffic.last_received)
        return silence < traffic.last_received ? Last::ours : Last::theirs;
    const bool acknowledged_later =
        traffic.last_ack_received < silence && silence - traffic.last_ack_received <= latest_ack;
    if (acknowledged_later) return Last::ours;
    if (silence < latest_ack) return Last::theirs;  // until then a bare ACK may still come
    if (silence >= long_silence) return Last::ours;
    if (traffic.segments_out - traffic.data_segments_out <= first_of_all) return Last::ours;
    if (known_for_ != traffic.data_segments_in) return Last::unknown;
    return interactive_ ? Last::ours : Last::theirs;
}

std::optional<Clock::time_point> Rest::look(const TcpSocket& socket, Clock::time_point now) {
    doubtful_ = false;
    if (!socket.traffic || socket.traffic->data_segments_out == 0) return std::nullopt;
    if (!is_quiet(socket)) return std::nullopt;
    looked_at_ = socket.traffic->data_segments_in;
    const Last last = last_byte(*socket.traffic);
    doubtful_ = last == Last::unknown;
    if (last != Last::ours) return std::nullopt;
    return now - socket.traffic->last_sent;
}

void Rest::interactive(bool is) {
    known_for_ = looked_at_;
    interactive_ = is;
}

}  // namespace lastcall
