#include <doctest/doctest.h>

#include "supervisor/occupancy.hpp"

using namespace lastcall;

namespace {

constexpr Clock::time_point start{100s};

Connection from(unsigned char last, std::optional<Clock::time_point> rests_since = {}) {
    return {.port = 80,
            .peer = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last},
            .rests_since = rests_since};
}

}  // namespace

TEST_CASE("occupancy: no evidence isn't nobody") {
    Occupancy occupancy;
    CHECK_FALSE(occupancy.here());
    occupancy.look(std::nullopt, start);
    CHECK_FALSE(occupancy.here());
    CHECK_FALSE(occupancy.ever_looked());
    CHECK_FALSE(occupancy.closed({7}, start));  // it may have come before the first look
    occupancy.look(Connections{}, start);
    REQUIRE(occupancy.here());
    CHECK(occupancy.here()->empty());
    occupancy.look(std::nullopt, start + 1s);
    CHECK_FALSE(occupancy.here());
    CHECK(occupancy.ever_looked());
}

TEST_CASE("occupancy: who is there at first, at most, and who arrives") {
    Occupancy occupancy;
    CHECK_FALSE(occupancy.look(Connections{{1, from(1)}, {2, from(2)}}, start));
    CHECK_FALSE(occupancy.closed({1}, start + 1s));
    CHECK(occupancy.here()->size() == 1);
    CHECK_FALSE(occupancy.closed({1}, start + 1s));  // told twice
    CHECK(occupancy.look(Connections{{2, from(2)}, {3, from(3)}, {4, from(4)}}, start + 2s));
    CHECK(occupancy.closed({9}, start + 3s));  // came and went between two looks
    CHECK_FALSE(occupancy.look(Connections{}, start + 4s));
    CHECK(occupancy.at_start() == 2);
    CHECK(occupancy.peak() == 3);
    CHECK(occupancy.arrived() == 3);
}

TEST_CASE("occupancy: the longest stay is that of who left, or of who is still there") {
    Occupancy occupancy;
    occupancy.look(Connections{{1, from(1)}, {2, from(2, start + 1s)}}, start);
    occupancy.closed({1}, start + 3s);
    const auto busy = occupancy.longest(false, start + 9s);
    REQUIRE(busy);
    CHECK(busy->lasted == 3s);
    CHECK(to_string(busy->peer) == "10.0.0.1");
    const auto any = occupancy.longest(true, start + 9s);
    CHECK(any->lasted == 9s);
    CHECK(to_string(any->peer) == "10.0.0.2");
}

TEST_CASE("occupancy: peers are told by address, those with most connections first") {
    Occupancy occupancy;
    Connections many;
    for (unsigned char peer = 1; peer <= 7; ++peer) many[peer] = from(peer);
    many[100] = from(5);
    many[101] = from(5);
    many[102] = from(6);
    occupancy.look(many, start);
    CHECK(occupancy.peers() ==
          "10.0.0.5 (3), 10.0.0.6 (2), 10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more");
    occupancy.look(Connections{}, start);
    CHECK(occupancy.peers().empty());
}

TEST_CASE("occupancy: all rest since the last of them came to rest") {
    Occupancy occupancy;
    CHECK_FALSE(occupancy.all_rest_since());
    occupancy.look(Connections{{1, from(1, start)}, {2, from(2, start + 5s)}}, start + 6s);
    CHECK(occupancy.all_rest_since() == start + 5s);
    occupancy.look(Connections{{1, from(1, start)}, {2, from(2)}}, start + 7s);
    CHECK_FALSE(occupancy.all_rest_since());
}

TEST_CASE("a peer's address is IPv4's own, however the kernel shows it") {
    CHECK(to_string(from(7).peer) == "10.0.0.7");
    PeerAddress six{};
    six[15] = 1;
    CHECK(to_string(six) == "::1");
}
