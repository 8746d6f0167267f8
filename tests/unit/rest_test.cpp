#include <doctest/doctest.h>

#include "supervisor/rest.hpp"

using namespace lastcall;

namespace {

constexpr Clock::time_point now{1000s};

/// A connection as tcp_info showed it, half a second after its last byte.
struct Seen {
    std::chrono::milliseconds sent{500}, received{500}, ack{500};
    std::uint32_t in = 0, out = 0, data_in = 0, data_out = 0;
    TcpState state = TcpState::established;
    std::uint32_t unread = 0, unsent = 0;

    TcpSocket socket() const {
        return {.cookie = 1,
                .state = state,
                .unread = unread,
                .unsent = unsent,
                .traffic = TcpTraffic{.last_sent = sent,
                                      .last_received = received,
                                      .last_ack_received = ack,
                                      .data_segments_in = data_in,
                                      .data_segments_out = data_out,
                                      .segments_in = in,
                                      .segments_out = out}};
    }
};

bool rests(const Seen& seen) { return Rest().look(seen.socket(), now).has_value(); }

// Measured on Linux 6.18 (HZ=250) over loopback: answers within the tick of their requests.
const Seen one_request = {.in = 4, .out = 2, .data_in = 1, .data_out = 1};
const Seen two_in_a_row = {.ack = 456ms, .in = 6, .out = 3, .data_in = 2, .data_out = 2};
const Seen fifty_in_a_row = {.ack = 456ms, .in = 54, .out = 51, .data_in = 50, .data_out = 50};
const Seen five_now_and_then = {.in = 12, .out = 6, .data_in = 5, .data_out = 5};
const Seen quick_then_working = {.in = 5, .out = 3, .data_in = 2, .data_out = 1};
const Seen many_quick_then_working = {.in = 54, .out = 52, .data_in = 51, .data_out = 50};
const Seen slow_ones_then_a_quick_one = {.in = 9, .out = 7, .data_in = 4, .data_out = 3};

}  // namespace

TEST_CASE("rest: the answer came later than the request, or it hasn't come") {
    Seen seen = {.sent = 500ms, .received = 3500ms, .in = 4, .out = 2, .data_in = 1, .data_out = 1};
    CHECK(Rest().look(seen.socket(), now) == now - 500ms);
    std::swap(seen.sent, seen.received);
    CHECK_FALSE(rests(seen));
}

TEST_CASE("rest: an answer within the tick of its request is told from a next request there") {
    CHECK(rests(one_request));
    CHECK(rests(two_in_a_row));
    CHECK(rests(fifty_in_a_row));
    CHECK(rests(five_now_and_then));
    CHECK_FALSE(rests(quick_then_working));
    CHECK_FALSE(rests(many_quick_then_working));
}

TEST_CASE("rest: what can't be told needs a minute of silence") {
    Seen seen = slow_ones_then_a_quick_one;
    CHECK_FALSE(rests(seen));
    seen.sent = seen.received = seen.ack = 59s;
    CHECK_FALSE(rests(seen));
    seen.sent = seen.received = seen.ack = 60s;
    CHECK(Rest().look(seen.socket(), now) == now - 60s);
}

TEST_CASE("rest: soon after the last byte an ACK may still come, and tell") {
    Seen seen = one_request;
    seen.sent = seen.received = seen.ack = 100ms;
    CHECK_FALSE(rests(seen));
}

TEST_CASE("rest: the socket's mode tells what nothing else does") {
    const auto seen = slow_ones_then_a_quick_one.socket();
    Rest rest;
    CHECK_FALSE(rest.look(seen, now));
    REQUIRE(rest.is_doubtful());
    SUBCASE("our side answered last") {
        rest.interactive(true);
        CHECK(rest.look(seen, now) == now - 500ms);
    }
    SUBCASE("a request was left to a bare ACK") {
        rest.interactive(false);
        CHECK_FALSE(rest.look(seen, now));
    }
    CHECK_FALSE(rest.is_doubtful());  // asked once
    Seen more = slow_ones_then_a_quick_one;
    more.in += 2, more.data_in += 1, more.out += 2, more.data_out += 1;
    CHECK_FALSE(rest.look(more.socket(), now + 3s));  // what was known is of before
    CHECK(rest.is_doubtful());
}

TEST_CASE("rest: an answer acknowledged at once, and a next request in the same tick") {
    // The bare ACK of theirs says nothing: it may come between an answer and a next request.
    const Seen working = {.in = 7, .out = 6, .data_in = 4, .data_out = 3};
    CHECK_FALSE(rests(working));
}

TEST_CASE("rest: not with something unread or unsent, nor before the first answer") {
    Seen seen = one_request;
    seen.unread = 1;
    CHECK_FALSE(rests(seen));
    seen.unread = 0;
    seen.unsent = 1;
    CHECK_FALSE(rests(seen));
    CHECK_FALSE(rests({.sent = 500ms, .received = 500ms, .in = 2}));
    CHECK_FALSE(Rest().look({.state = TcpState::established, .traffic = std::nullopt}, now));
}

TEST_CASE("rest: a client's FIN that nobody has read yet is no request") {
    Seen seen = one_request;
    seen.state = TcpState::close_wait;
    seen.unread = 1;
    CHECK(rests(seen));
    seen.unread = 2;
    CHECK_FALSE(rests(seen));
    seen.unread = 0;
    seen.state = TcpState::fin_wait1;
    CHECK_FALSE(rests(seen));
}
