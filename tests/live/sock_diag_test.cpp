#include "supervisor/sock_diag.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/live/tcp.hpp"

using namespace lastcall;

namespace {

std::vector<TcpSocket> sockets_on(std::uint16_t port) {
    auto found = sock_diag_of({port});
    REQUIRE(found);
    return *found;
}

bool has_state(const std::vector<TcpSocket>& sockets, TcpState state) {
    return std::any_of(sockets.begin(), sockets.end(),
                       [state](const TcpSocket& each) { return each.state == state; });
}

}  // namespace

TEST_CASE("sock_diag: IPv4 and IPv6 clients of a dual-stack listener, accepted or not") {
    const Listening server;
    CHECK(sockets_on(server.port).empty());
    const Socket four = server.connect(false), six = server.connect(true);
    CHECK(sockets_on(server.port).size() == 2);
    const Socket accepted = server.accept();
    const auto all = sockets_on(server.port);
    REQUIRE(all.size() == 2);
    const auto has_peer = [&all](const char* peer) {
        return std::any_of(all.begin(), all.end(),
                           [peer](const TcpSocket& each) { return to_string(each.peer) == peer; });
    };
    CHECK(has_peer("::1"));
    CHECK(has_peer("127.0.0.1"));
    CHECK(std::count_if(all.begin(), all.end(),
                        [](const TcpSocket& each) { return each.inode == 0; }) == 1);
}

TEST_CASE("sock_diag: states are the kernel's, and nobody is left in TIME_WAIT") {
    const Listening server;
    Socket client = server.connect(), accepted = server.accept();
    ::shutdown(client.get(), SHUT_WR);
    CHECK(has_state(sockets_on(server.port), TcpState::close_wait));
    accepted.close();
    client.close();
    CHECK(sockets_on(server.port).empty());
}

TEST_CASE("sock_diag: of many ports exactly those asked for, by one filter or without one") {
    std::vector<Listening> servers(6);
    std::vector<Socket> clients;
    for (const auto& server : servers) clients.push_back(server.connect());
    std::set<std::uint16_t> wanted;
    std::size_t padding = 0;
    SUBCASE("two") { padding = 0; }
    SUBCASE("as many as one filter takes") { padding = 62; }
    SUBCASE("more than that") { padding = 200; }
    std::uint16_t port = 1;
    while (wanted.size() < padding) wanted.insert(port++);
    wanted.insert(servers[1].port);
    wanted.insert(servers[4].port);
    const auto found = sock_diag_of(wanted);
    REQUIRE(found);
    std::set<std::uint16_t> ports;
    for (const auto& each : *found) {
        if (each.port >= port) ports.insert(each.port);  // others' may be among the small ones
    }
    CHECK(ports == std::set{servers[1].port, servers[4].port});
}

TEST_CASE("sock_diag: bytes unread, unsent, and the traffic that there was") {
    const Listening server;
    const Socket client = server.connect(), accepted = server.accept();
    const auto itself = [&] { return sockets_on(server.port).at(0); };
    REQUIRE(itself().traffic);
    CHECK(itself().traffic->data_segments_in == 0);
    client.send("GET");
    CHECK(itself().unread == 3);
    CHECK(itself().traffic->bytes_received == 3);
    accepted.receive();
    CHECK(itself().unread == 0);
    accepted.send("200");
    CHECK(itself().traffic->data_segments_in == 1);
    CHECK(itself().traffic->data_segments_out == 1);
}

TEST_CASE("sock_diag: a cookie is the same at every look, accepted or not, and no two share one") {
    const Listening server;
    const Socket one = server.connect(), two = server.connect();
    const auto cookies = [&server] {
        std::set<std::uint64_t> all;
        for (const auto& each : sockets_on(server.port)) all.insert(each.cookie);
        return all;
    };
    const auto before = cookies();
    REQUIRE(before.size() == 2);
    const Socket accepted = server.accept();
    CHECK(cookies() == before);
}

TEST_CASE("sock_diag: listeners with their port, address and inode, and who waits to be accepted") {
    const Listening everywhere, local(in6addr_loopback);
    const Socket waiting = everywhere.connect();
    const auto all = sock_diag_listeners();
    REQUIRE(all);
    const auto find = [&all](std::uint16_t port) {
        return *std::find_if(all->begin(), all->end(),
                             [port](const TcpSocket& each) { return each.port == port; });
    };
    CHECK_FALSE(find(everywhere.port).loopback);
    CHECK(find(local.port).loopback);
    CHECK(find(everywhere.port).inode > 0);
    CHECK(find(everywhere.port).unread == 1);
    CHECK(find(everywhere.port).state == TcpState::listen);
}
