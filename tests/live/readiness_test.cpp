#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>

#include "agent/inherited_listeners.hpp"
#include "agent/lb/lb.hpp"
#include "tests/live/backend.hpp"
#include "tests/live/haproxy.hpp"
#include "tests/live/world.hpp"

using namespace lastcall;

namespace {

struct Endpoint {
    explicit Endpoint(const std::string& parameters = "", const std::string& path = "/ready",
                      std::optional<std::uint16_t> on = {})
        : port(on ? *on : free_port(world.io)),
          membership(clients.membership(
              fmt::format("readiness://127.0.0.1:{}{}{}", port, path, parameters))) {}

    awaitable<void> come() { return membership.load_balancer->register_target(membership.target); }
    awaitable<void> go() { return membership.load_balancer->deregister(membership.target); }
    awaitable<std::string> probe(std::string path = "/ready") {
        const std::string answer = co_await get(port, std::move(path));
        co_return status_of(answer);
    }
    /// Sends `text` as it is, and returns what comes back until the end.
    awaitable<std::string> raw(std::string text) {
        tcp::socket socket(world.io);
        co_await socket.async_connect(loopback(port), use_awaitable);
        const auto bytes = asio::buffer(text);
        co_await asio::async_write(socket, bytes, use_awaitable);
        std::string answer;
        auto buffer = asio::dynamic_buffer(answer);
        boost::system::error_code error;
        co_await asio::async_read(socket, buffer, asio::redirect_error(use_awaitable, error));
        co_return answer;
    }
    bool listening() {
        tcp::socket socket(world.io);
        boost::system::error_code error;
        socket.connect(loopback(port), error);
        return !error;
    }

    World world;
    std::uint16_t port;
    LoadBalancers clients{world.io.get_executor(), world.clock, world.log, "", {}};
    Membership membership;
};

awaitable<bool> ended(awaitable<void> work) {
    co_await std::move(work);
    co_return true;
}

}  // namespace

TEST_CASE("readiness: nothing listens before it is needed, nor after") {
    Endpoint endpoint;
    CHECK_FALSE(endpoint.listening());
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.membership.load_balancer->state_of("/ready");
        const std::string status = co_await endpoint.probe();
        CHECK(status == "503");
    };
    endpoint.world.run(story());
    CHECK(endpoint.listening());
    endpoint.membership.load_balancer.reset();
    CHECK_FALSE(endpoint.listening());
}

TEST_CASE("readiness: if nobody probed, deregistration is over at once") {
    Endpoint endpoint;
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.come();
        co_await endpoint.go();
        const std::string status = co_await endpoint.probe();
        CHECK(status == "503");
    };
    endpoint.world.run(story());
}

TEST_CASE("readiness: deregistration ends when as many probes as asked for have had the failure") {
    Endpoint endpoint("?fail=404&fails=2");
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.come();
        std::string status = co_await endpoint.probe();
        CHECK(status == "200");
        const auto gone = endpoint.world.background(ended(endpoint.go()));
        status = co_await endpoint.probe("/ready?x=1");
        CHECK(status == "404");
        status = co_await endpoint.probe("/other");  // is nobody's probe
        CHECK(status == "404");
        status = co_await endpoint.probe("/other");
        CHECK_FALSE(gone->has_value());
        status = co_await endpoint.probe();
        CHECK(status == "404");
        co_await endpoint.world.until("it is deregistered", [&] { return gone->has_value(); });
        status = co_await endpoint.probe();  // and it stays so
        CHECK(status == "404");
        co_await endpoint.go();  // once more: at once

        co_await endpoint.come();  // and all over again
        status = co_await endpoint.probe();
        CHECK(status == "200");
        const auto again = endpoint.world.background(ended(endpoint.go()));
        co_await endpoint.probe();
        co_await endpoint.probe("/other");
        CHECK_FALSE(again->has_value());
        co_await endpoint.probe();
        co_await endpoint.world.until("it is deregistered", [&] { return again->has_value(); });
    };
    endpoint.world.run(story());
}

TEST_CASE("readiness: a deregistration that was given up goes on counting when it is asked again") {
    Endpoint endpoint("?fails=2");
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.come();
        co_await endpoint.probe();
        const auto limit = endpoint.world.clock.now() + 20ms;
        const auto first = co_await before(endpoint.world.clock, limit, done(endpoint.go()));
        CHECK_FALSE(first);
        co_await endpoint.probe();
        co_await endpoint.probe();
        co_await endpoint.go();
    };
    endpoint.world.run(story());
}

TEST_CASE("readiness: several paths live on one listener, each with a state of its own") {
    Endpoint endpoint;
    const Membership other =
        endpoint.clients.membership(fmt::format("readiness://127.0.0.1:{}/two", endpoint.port));
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.come();
        std::string status = co_await endpoint.probe("/two");
        CHECK(status == "503");
        co_await other.load_balancer->register_target("/two");
        status = co_await endpoint.probe("/two");
        CHECK(status == "200");
        status = co_await endpoint.probe("/three");
        CHECK(status == "404");
    };
    endpoint.world.run(story());
}

TEST_CASE("readiness: answers are whole, close the connection, and HEAD has no body") {
    Endpoint endpoint;
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.come();
        const std::string got = co_await endpoint.raw("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK(got.find("HTTP/1.1 200 OK\r\n") == 0);
        CHECK(got.find("Connection: close\r\n") != std::string::npos);
        CHECK(got.find("Content-Length: 6\r\n") != std::string::npos);
        CHECK(got.substr(got.size() - 10) == "\r\n\r\nready\n");
        const std::string head = co_await endpoint.raw("HEAD /ready HTTP/1.0\r\n\r\n");
        CHECK(head.find("HTTP/1.0 200 OK\r\n") == 0);
        CHECK(head.substr(head.size() - 4) == "\r\n\r\n");
        const std::string post = co_await endpoint.raw("POST /ready HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK(status_of(post) == "405");
    };
    endpoint.world.run(story());
}

TEST_CASE(
    "readiness: what is no request, too long, or too many at once is cut off, and probes go on") {
    Endpoint endpoint;
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.come();
        std::string answer = co_await endpoint.raw("\x16\x03\x01 hello\r\n\r\n");
        CHECK(answer.empty());
        answer = co_await endpoint.raw("GET /ready HTTP/1.1\r\nX: " + std::string(9000, 'x') +
                                       "\r\n\r\n");
        CHECK(answer.empty());

        std::vector<tcp::socket> silent;
        for (int i = 0; i < 64; ++i) {
            silent.emplace_back(endpoint.world.io);
            co_await silent.back().async_connect(loopback(endpoint.port), use_awaitable);
        }
        answer = co_await endpoint.raw("GET /ready HTTP/1.1\r\n\r\n");
        CHECK(answer.empty());
        const auto since = endpoint.world.clock.now();
        char byte = 0;
        boost::system::error_code error;
        for (auto& socket : silent) {
            const auto buffer = asio::buffer(&byte, 1);
            co_await socket.async_read_some(buffer, asio::redirect_error(use_awaitable, error));
            CHECK(error == asio::error::eof);
        }
        CHECK(endpoint.world.clock.now() - since < 7s);
        CHECK(endpoint.world.clock.now() - since > 4s);
        const std::string status = co_await endpoint.probe();
        CHECK(status == "200");
    };
    endpoint.world.run(story());
}

TEST_CASE("readiness: the client may die at any time, whatever hangs on it") {
    for (int steps = 0; steps < 40; ++steps) {
        Endpoint endpoint;
        endpoint.world.run(endpoint.come());
        endpoint.world.background(endpoint.raw("GET /rea"));
        endpoint.world.background(endpoint.probe());
        for (int step = 0; step < steps; ++step) endpoint.world.io.run_one_for(1ms);
        endpoint.membership.load_balancer.reset();
        for (int step = 0; step < steps % 3 * 20; ++step) endpoint.world.io.run_one_for(1ms);
    }
}

TEST_CASE("readiness: HAProxy's own probes drain the server, with disable-on-404") {
    Endpoint endpoint("?fail=404");
    Backend web1(endpoint.world.io, "web1");
    const auto front = free_port(endpoint.world.io);
    const auto story = [&]() -> awaitable<void> {
        co_await endpoint.come();
        HaproxyProcess haproxy(
            fmt::format("frontend f\n  bind 127.0.0.1:{}\n  default_backend web\n"
                        "backend web\n  option httpchk GET /ready\n"
                        "  http-check disable-on-404\n"
                        "  server web1 127.0.0.1:{} check port {} inter 50ms\n",
                        front, web1.port(), endpoint.port));
        std::string answer = co_await get(front, "/");
        CHECK(status_of(answer) == "200");
        const auto passed = [&] { return haproxy.stat("web1", "check_status") == "L7OK"; };
        co_await endpoint.world.until("a probe had the 200", passed);
        const auto held = endpoint.world.background(get(front, "/hold"));
        co_await endpoint.world.until("it is held", [&] { return web1.state().held == 1; });
        co_await endpoint.go();
        CHECK(haproxy.stat("web1", "status") == "NOLB");
        answer = co_await get(front, "/");
        CHECK(status_of(answer) == "503");
        web1.release();
        co_await endpoint.world.until("it has its answer", [&] { return held->has_value(); });
        CHECK(status_of(**held) == "200");
    };
    endpoint.world.run(story());
}

TEST_CASE("readiness: a port that this process listened on before is never closed in between") {
    asio::io_context io(1);
    tcp::acceptor before(io, loopback(0));
    const auto port = before.local_endpoint().port();
    tcp::socket probing(io);
    probing.connect(loopback(port));  // in the backlog, and nobody has accepted it yet
    asio::write(probing, asio::buffer(std::string("GET /ready HTTP/1.0\r\n\r\n")));
    inherit_listeners({::fcntl(before.native_handle(), F_DUPFD_CLOEXEC, 0)});
    before.close();
    Endpoint endpoint("", "/ready", port);
    close_inherited_listeners();  // this one is wanted, even before it is needed
    CHECK(endpoint.listening());
    endpoint.world.run(endpoint.come());
    const auto answer = [&]() -> awaitable<void> {
        const std::string status = co_await endpoint.probe();
        CHECK(status == "200");
    };
    endpoint.world.run(answer());
    std::string first;
    boost::system::error_code error;
    asio::read(probing, asio::dynamic_buffer(first), error);
    CHECK(first.find(" 200 ") != first.npos);
}
