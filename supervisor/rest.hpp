#pragma once
#include <cstdint>
#include <optional>

#include "supervisor/clock.hpp"
#include "supervisor/tcp_socket.hpp"

namespace lastcall {

/// Whether one keep-alive connection is at rest: nothing unread, nothing unsent, and the last byte
/// was ours. Decided from tcp_info, look by look.
///
/// The kernel dates bytes in ticks of 1 to 10 ms, and a quick answer has the same date as its
/// request; so has a quick answer and the *next* request, which may take for ever. ACKs tell them
/// apart:
/// - An answer that is last may be acknowledged later, by itself; one with a next request right
///   behind it is acknowledged by that.
/// - A request that is last is acknowledged by a bare ACK of ours within 200 ms (TCP_DELACK_MAX),
///   one that was answered by the answer itself. A connection that never sent one has answered all.
/// - Answering at once puts our side into its interactive mode, in which ACKs wait for data; a
///   request that is left to a bare ACK ends it. Only /proc/net/tcp shows that (`is_doubtful`).
///
/// Where nothing tells, a minute of silence is asked for: longer than most proxies wait.
///
/// All of that holds for protocols in which the client speaks first and waits for its answer:
/// HTTP/1. Who just keeps silent (a WebSocket) looks at rest. So may a request that is longer than
/// a segment and comes within the same tick as the answer before it.
class Rest {
 public:
    /// Since when it has been at rest; none while somebody owes somebody an answer, or it can't be
    /// told. Call it with each look at the same socket.
    std::optional<Clock::time_point> look(const TcpSocket& socket, Clock::time_point now);
    /// The last look couldn't tell: `interactive` may help.
    bool is_doubtful() const { return doubtful_; }
    /// What /proc/net/tcp showed of the socket's mode, after that look.
    void interactive(bool is);

 private:
    enum class Last { ours, theirs, unknown };
    Last last_byte(const TcpTraffic& traffic) const;

    bool doubtful_ = false;
    /// Asked once for each state of the traffic: that many data segments had come.
    std::uint32_t looked_at_ = 0, known_for_ = 0;
    bool interactive_ = false;
};

}  // namespace lastcall
