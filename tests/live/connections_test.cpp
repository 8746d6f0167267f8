#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>

#include "supervisor/connections.hpp"
#include "supervisor/process.hpp"
#include "supervisor/sock_diag.hpp"

using namespace lastcall;

namespace {

/// A socket of this process; closed at the end of its scope.
class Socket {
 public:
    explicit Socket(int descriptor) : descriptor_(descriptor) { REQUIRE(descriptor != -1); }
    ~Socket() { close(); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    int get() const { return descriptor_; }
    void close() {
        if (descriptor_ != -1) ::close(descriptor_);
        descriptor_ = -1;
    }

 private:
    int descriptor_;
};

sockaddr_in6 address(bool v6, std::uint16_t port) {
    sockaddr_in6 to{};
    if (v6) {
        to.sin6_family = AF_INET6;
        to.sin6_addr = in6addr_loopback;
        to.sin6_port = htons(port);
    } else {
        auto& four = reinterpret_cast<sockaddr_in&>(to);
        four.sin_family = AF_INET;
        four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        four.sin_port = htons(port);
    }
    return to;
}

struct Listening {
    Socket socket{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    std::uint16_t port = 0;
    explicit Listening(const in6_addr& at = in6addr_any) {
        sockaddr_in6 to{};
        to.sin6_family = AF_INET6;
        to.sin6_addr = at;
        REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
        REQUIRE(::listen(socket.get(), 16) == 0);
        socklen_t size = sizeof to;
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&to), &size);
        port = ntohs(to.sin6_port);
    }
    int connect(bool v6) const {
        const int client = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto to = address(v6, port);
        REQUIRE(::connect(client, reinterpret_cast<const sockaddr*>(&to),
                          v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in)) == 0);
        return client;
    }
    int accept() const { return ::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC); }
};

std::size_t open_on(std::uint16_t port) { return connections_of({port})->size(); }

struct FixedProcess final : Process {
    pid_t id() const override { return ::getpid(); }
    void signal(int, SignalScope) override {}
    awaitable<ExitStatus> exit() override { co_return ExitStatus{}; }
    awaitable<void> empty() override { co_return; }
    std::vector<Survivor> survivors() override { return {{.pid = ::getpid()}}; }
};

}  // namespace

TEST_CASE(
    "connections of a port: IPv4 and IPv6 clients of a dual-stack listener, accepted or not") {
    const Listening server;
    CHECK(open_on(server.port) == 0);
    const Socket four(server.connect(false)), six(server.connect(true));
    CHECK(open_on(server.port) == 2);  // nobody has accepted them: two who wait
    const Socket accepted(server.accept());
    CHECK(open_on(server.port) == 2);
    const auto peers = *connections_of({server.port});
    CHECK(std::any_of(peers.begin(), peers.end(),
                      [](const Connection& each) { return each.peer == "::1"; }));
    CHECK(std::any_of(peers.begin(), peers.end(),
                      [](const Connection& each) { return each.peer == "::ffff:127.0.0.1"; }));
}

TEST_CASE("connections: a client that has closed its half still counts until we have closed ours") {
    const Listening server;
    Socket client(server.connect(true));
    Socket accepted(server.accept());
    ::shutdown(client.get(), SHUT_WR);
    CHECK(open_on(server.port) == 1);  // CLOSE_WAIT: it may wait for its answer
    accepted.close();
    client.close();
    CHECK(open_on(server.port) == 0);  // TIME_WAIT is nobody
}

TEST_CASE("connections: those that the task opened itself don't count, nor other ports") {
    const Listening server, other;
    const Socket inbound(server.connect(true)), elsewhere(other.connect(true));
    CHECK(open_on(server.port) == 1);
    CHECK(connections_of({server.port, other.port})->size() == 2);
    CHECK(connections_of({})->empty());
}

TEST_CASE("connections: a cookie is the same at every look, and no two share one") {
    const Listening server;
    const Socket one(server.connect(true)), two(server.connect(true));
    const auto first = *connections_of({server.port}), second = *connections_of({server.port});
    REQUIRE(first.size() == 2);
    CHECK(first[0].cookie != first[1].cookie);
    for (const auto& each : first) {
        CHECK(std::any_of(second.begin(), second.end(), [&each](const Connection& other) {
            return other.cookie == each.cookie;
        }));
    }
}

TEST_CASE("connections: at rest only while nothing is owed") {
    const Listening server;
    const Socket client(server.connect(true)), accepted(server.accept());
    const auto resting = [&server] {
        return (*connections_of({server.port}))[0].at_rest.has_value();
    };
    CHECK_FALSE(resting());  // no byte was ours yet
    REQUIRE(::send(client.get(), "GET", 3, 0) == 3);
    CHECK_FALSE(resting());  // unread
    char buffer[8];
    REQUIRE(::recv(accepted.get(), buffer, sizeof buffer, 0) == 3);
    CHECK_FALSE(resting());  // read, not answered
}

TEST_CASE(
    "listeners: their port, whether they are loopback's, and an inode to find the process by") {
    const Listening everywhere, loopback(in6addr_loopback);
    const auto all = *listeners();
    const auto find = [&all](std::uint16_t port) {
        return *std::find_if(all.begin(), all.end(),
                             [port](const Listener& each) { return each.port == port; });
    };
    CHECK_FALSE(find(everywhere.port).loopback);
    CHECK(find(loopback.port).loopback);
    CHECK(find(everywhere.port).inode > 0);
}

TEST_CASE("evidence: configured ports win, then named ones, then what the tree listens on") {
    asio::io_context io;
    const auto clock = boot_clock(io.get_executor());
    FixedProcess process;
    const Listening server;
    const Socket client(server.connect(true));
    SUBCASE("found") {
        const auto evidence = task_connections(*clock, {}, {&process}, false);
        CHECK(evidence->listening() == true);
        CHECK(evidence->open()->size() >= 1);
    }
    SUBCASE("named: what was found before counts no more") {
        const auto evidence = task_connections(*clock, {}, {&process}, false);
        evidence->open();
        evidence->named(1);
        CHECK(evidence->open()->empty());
        CHECK(evidence->listening() == false);
    }
    SUBCASE("configured: nobody else's word counts") {
        const auto evidence = task_connections(*clock, {server.port}, {}, false);
        evidence->named(1);
        CHECK(evidence->open()->size() == 1);
        CHECK(evidence->listening() == true);
    }
    SUBCASE("nothing known is no evidence, and no evidence isn't zero") {
        const auto evidence = task_connections(*clock, {}, {}, false);
        CHECK_FALSE(evidence->open());
    }
    SUBCASE("as PID 1: every listener but loopback's and our own") {
        const auto evidence = task_connections(*clock, {}, {}, true);
        const auto seen = evidence->open();  // the one here is our own
        CHECK((!seen || std::none_of(seen->begin(), seen->end(), [&server](const Connection& each) {
            return each.port == server.port;
        })));
    }
}

TEST_CASE("evidence: a port is remembered when its listener has closed") {
    asio::io_context io;
    const auto clock = boot_clock(io.get_executor());
    FixedProcess process;
    Listening server;
    const Socket client(server.connect(true)), accepted(server.accept());
    const auto evidence = task_connections(*clock, {}, {&process}, false);
    CHECK(evidence->listening() == true);
    server.socket.close();
    CHECK(open_on(server.port) == 1);
    const auto seen = *evidence->open();
    CHECK(std::any_of(seen.begin(), seen.end(),
                      [&server](const Connection& each) { return each.port == server.port; }));
}
