#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/write.hpp>

#include "supervisor/clock.hpp"
#include "supervisor/proc_net_tcp.hpp"

using namespace lastcall;
using asio::ip::tcp;

namespace {

struct DualStack {
    DualStack() {
        listener.open(tcp::v6());
        listener.set_option(asio::ip::v6_only(false));
        listener.bind({asio::ip::address_v6::any(), 0});
        listener.listen();
        port = listener.local_endpoint().port();
    }
    tcp::socket connect(const asio::ip::address& address) {
        tcp::socket socket(io);
        socket.connect({address, port});
        return socket;
    }
    std::vector<TcpSocket> look() const {
        auto found = proc_net_tcp({port});
        REQUIRE(found);
        return *found;
    }
    TcpSocket itself() const { return of_peer(PeerAddress{}); }
    TcpSocket of_peer(const PeerAddress& peer) const {
        const auto all = look();
        const auto place = std::find_if(all.begin(), all.end(),
                                        [&](const TcpSocket& one) { return one.peer == peer; });
        REQUIRE(place != all.end());
        return *place;
    }

    asio::io_context io;
    tcp::acceptor listener{io};
    std::uint16_t port = 0;
};

template <class Socket>
std::uint64_t inode_of(Socket& socket) {
    struct stat self = {};
    REQUIRE(::fstat(socket.native_handle(), &self) == 0);
    return self.st_ino;
}

constexpr PeerAddress four_loopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
constexpr PeerAddress six_loopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

}  // namespace

TEST_CASE("/proc/net/tcp: the clients of a dual-stack listener, before and after it accepts them") {
    DualStack server;
    CHECK(server.look().size() == 1);
    CHECK(server.itself().state == TcpState::listen);
    CHECK(server.itself().inode == inode_of(server.listener));
    CHECK_FALSE(server.itself().loopback);

    tcp::socket four = server.connect(asio::ip::address_v4::loopback());
    tcp::socket accepted = server.listener.accept();
    const auto first = server.of_peer(four_loopback);
    CHECK(first.state == TcpState::established);
    CHECK(first.inode == inode_of(accepted));
    CHECK(first.loopback);

    const tcp::socket six = server.connect(asio::ip::address_v6::loopback());
    CHECK(server.itself().unread == 1);  // somebody waits
    const auto waiting = server.of_peer(six_loopback);
    CHECK(waiting.state == TcpState::established);
    CHECK(waiting.inode == 0);
    CHECK(server.look().size() == 3);
    CHECK(waiting.cookie != first.cookie);

    tcp::socket second = server.listener.accept();
    CHECK(server.itself().unread == 0);
    CHECK(server.of_peer(six_loopback).inode == inode_of(second));
    CHECK(server.of_peer(six_loopback).cookie == waiting.cookie);
}

TEST_CASE("/proc/net/tcp: what is unread, a half-closed client, and nobody in TIME_WAIT") {
    DualStack server;
    tcp::socket client = server.connect(asio::ip::address_v4::loopback());
    tcp::socket accepted = server.listener.accept();
    asio::write(client, asio::buffer("GET", 3));
    CHECK(server.of_peer(four_loopback).unread == 3);
    std::array<char, 3> bytes{};
    accepted.read_some(asio::buffer(bytes));
    CHECK(server.of_peer(four_loopback).unread == 0);

    client.shutdown(tcp::socket::shutdown_send);
    CHECK(server.of_peer(four_loopback).state == TcpState::close_wait);
    accepted.close();
    CHECK(server.look().size() == 1);

    tcp::socket other = server.connect(asio::ip::address_v4::loopback());
    server.listener.accept().close();  // who closes first is left in TIME_WAIT
    CHECK(server.look().size() == 2);
    other.close();
    CHECK(server.look().size() == 1);
}

TEST_CASE("/proc/net/tcp: without ports, every listener and nothing else") {
    DualStack server, other;
    const tcp::socket client = server.connect(asio::ip::address_v6::loopback());
    const auto all = *proc_net_tcp({});
    std::set<std::uint16_t> ports;
    for (const auto& each : all) {
        CHECK(each.state == TcpState::listen);
        ports.insert(each.port);
    }
    CHECK(ports.count(server.port) == 1);
    CHECK(ports.count(other.port) == 1);
}
