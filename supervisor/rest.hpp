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
/// request; so has a quick answer and the *next* request, which may take for ever. Bare ACKs tell
/// them apart. A request that is last is acknowledged by a bare ACK of ours within 200 ms
/// (TCP_DELACK_MAX), one that was answered by the answer itself. An answer that is last is
/// acknowledged by a bare ACK of theirs, one with a next request behind it by that request.
/// Where even that can't be told, a minute of silence is asked for: longer than proxies wait.
///
/// It holds for protocols in which the client speaks first and waits for its answer: HTTP/1. A
/// client that sends its next request before it has read the answer (pipelining), or one that just
/// keeps silent (a WebSocket), may look at rest.
class Rest {
 public:
    /// Since when it has been at rest; none while somebody owes somebody an answer, or it can't be
    /// told. Call it with each look at the same socket.
    std::optional<Clock::time_point> look(const TcpSocket& socket, Clock::time_point now);

 private:
    /// How it stood when it was last known that the last byte was ours.
    struct Mark {
        Clock::time_point at;
        std::uint32_t bare_in, bare_out, answers;
    };
    bool last_byte_was_ours(const TcpTraffic& traffic, Clock::time_point now) const;

    std::optional<Mark> mark_;
};

}  // namespace lastcall
