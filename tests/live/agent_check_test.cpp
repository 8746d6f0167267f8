#include <doctest/doctest.h>
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <stdexcept>

#include "agent/lb/lb.hpp"
#include "tests/live/backend.hpp"
#include "tests/live/haproxy.hpp"
#include "tests/live/world.hpp"

using namespace lastcall;

namespace {

const std::string ready = "/ready";

struct Site {
    World world;
    std::uint16_t port = free_port(world.io);
    std::uint16_t agent = another_port();
    LoadBalancers clients{world.io.get_executor(), world.clock, world.log, "", {}};
    Membership membership = join(ready);

    std::uint16_t another_port() {
        std::uint16_t other = port;
        while (other == port) other = free_port(world.io);
        return other;
    }
    std::string url(const std::string& path, std::uint16_t at) const {
        return fmt::format("readiness://127.0.0.1:{}{}?fails=2&agent-check={}", at, path, agent);
    }
    Membership join(const std::string& path) { return clients.membership(url(path, port)); }
    std::string refusal(const std::string& other) {
        try {
            clients.membership(other);
            return "";
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
    }
    awaitable<void> come() { return membership.load_balancer->register_target(ready); }
    awaitable<void> go() { return membership.load_balancer->deregister(ready); }
    awaitable<std::string> probe() {
        const std::string answer = co_await get(port, ready);
        co_return status_of(answer);
    }
    awaitable<tcp::socket> connect() {
        tcp::socket socket(world.io);
        co_await socket.async_connect(loopback(agent), use_awaitable);
        co_return socket;
    }
    /// All that comes until the end; "reset" if that is none.
    static awaitable<std::string> read(tcp::socket& socket) {
        std::string answer;
        auto buffer = asio::dynamic_buffer(answer);
        boost::system::error_code error;
        co_await asio::async_read(socket, buffer, asio::redirect_error(use_awaitable, error));
        co_return error == asio::error::eof ? answer : "reset";
    }
    /// As HAProxy does: connects, sends what `agent-send` says, reads, closes.
    awaitable<std::string> ask(std::string sent = "") {
        tcp::socket socket = co_await connect();
        const auto bytes = asio::buffer(sent);
        co_await asio::async_write(socket, bytes, use_awaitable);
        std::string answer = co_await read(socket);
        co_return answer;
    }
    bool listening() {
        tcp::socket socket(world.io);
        boost::system::error_code error;
        socket.connect(loopback(agent), error);
        return !error;
    }
};

}  // namespace

TEST_CASE("agent-check: drain until registered, ready up, and drain until the task is gone") {
    Site site;
    CHECK_FALSE(site.listening());
    const auto story = [&]() -> awaitable<void> {
        co_await site.membership.load_balancer->state_of(ready);
        std::string answer = co_await site.ask();
        CHECK(answer == "drain\n");
        co_await site.come();
        answer = co_await site.ask();
        CHECK(answer == "ready up\n");
        const auto gone = site.world.background(done(site.go()));
        CHECK_FALSE(gone->has_value());
        answer = co_await site.ask();
        CHECK(answer == "drain\n");
        co_await site.world.until("it is deregistered", [&] { return gone->has_value(); });
        answer = co_await site.ask();
        CHECK(answer == "drain\n");

        co_await site.come();  // and all over again
        answer = co_await site.ask();
        CHECK(answer == "ready up\n");
        const auto again = site.world.background(done(site.go()));
        answer = co_await site.ask();
        co_await site.world.until("it is deregistered", [&] { return again->has_value(); });
    };
    site.world.run(story());
    CHECK(site.listening());
    site.membership.load_balancer.reset();
    CHECK_FALSE(site.listening());
}

TEST_CASE("agent-check: what is sent to it costs nobody the answer") {
    Site site;
    const auto story = [&]() -> awaitable<void> {
        co_await site.come();
        // The last is more than the kernel holds: who sends it finds out what became of it.
        for (const std::size_t length : {1, 1000, 8000000}) {
            const std::string answer = co_await site.ask(std::string(length, 'x') + "\n");
            CHECK(answer == "ready up\n");
        }
    };
    site.world.run(story());
}

TEST_CASE("agent-check: a drain counts when who asked has read it and closed") {
    Site site;
    const auto story = [&]() -> awaitable<void> {
        co_await site.come();
        co_await site.ask();
        const auto gone = site.world.background(done(site.go()));
        tcp::socket slow = co_await site.connect();
        const std::string answer = co_await Site::read(slow);
        CHECK(answer == "drain\n");
        co_await site.probe();  // a whole conversation later
        CHECK_FALSE(gone->has_value());
        slow.close();
        co_await site.world.until("it is deregistered", [&] { return gone->has_value(); });
    };
    site.world.run(story());
}

TEST_CASE("agent-check: every kind of probe that came must have had its failures, and no other") {
    Site site;
    const auto story = [&]() -> awaitable<void> {
        co_await site.come();
        co_await site.go();  // nobody asked

        co_await site.come();
        co_await site.probe();
        const auto by_http = site.world.background(done(site.go()));
        co_await site.probe();
        co_await site.ask();
        CHECK_FALSE(by_http->has_value());
        co_await site.probe();
        co_await site.world.until("two probes are enough", [&] { return by_http->has_value(); });

        co_await site.come();
        co_await site.probe();
        co_await site.ask();
        const auto by_both = site.world.background(done(site.go()));
        co_await site.probe();
        const std::string status = co_await site.probe();
        CHECK(status == "503");
        co_await site.probe();
        CHECK_FALSE(by_both->has_value());
        co_await site.ask();
        co_await site.world.until("both have heard it", [&] { return by_both->has_value(); });
    };
    site.world.run(story());
}

TEST_CASE("agent-check: a port is one target's, for as long as a task has it") {
    Site site;
    const std::string other = site.url("/other", site.port);
    const std::string elsewhere = site.url("/ready", site.another_port());
    const std::string why = fmt::format(
        "agent-check is {}, expected a port of its own: that one answers for '/ready'", site.agent);
    CHECK(site.refusal(other) == fmt::format("cannot use load balancer '{}': {}", other, why));
    CHECK(site.refusal(elsewhere).find(why) != std::string::npos);

    // The same task once more: the last one's end takes nothing from it.
    Membership next = site.join(ready);
    site.world.run(site.come());
    site.membership = next;
    CHECK(site.listening());
    CHECK_FALSE(site.refusal(other).empty());

    // The client lives on for another path; the port is free.
    const Membership beside =
        site.clients.membership(fmt::format("readiness://127.0.0.1:{}/beside", site.port));
    CHECK(beside.load_balancer == next.load_balancer);
    next = site.membership = Membership();
    CHECK_FALSE(site.listening());
    const Membership heir = site.join("/other");
    const auto story = [&]() -> awaitable<void> {
        co_await heir.load_balancer->register_target(heir.target);
        const std::string answer = co_await site.ask();
        CHECK(answer == "ready up\n");
    };
    site.world.run(story());
}

TEST_CASE("agent-check: a port in use is an error that a retry may mend, and nothing is ready") {
    Site site;
    const auto story = [&]() -> awaitable<void> {
        std::string error;
        {
            const tcp::acceptor taken(site.world.io, loopback(site.agent));
            try {
                co_await site.come();
            } catch (const LoadBalancerError& failure) {
                error = failure.what();
                CHECK(failure.retry());
            }
        }
        CHECK(error == fmt::format("cannot listen on readiness://127.0.0.1:{}, agent-check={}: "
                                   "bind: Address already in use",
                                   site.port, site.agent));
        std::string answer = co_await site.probe();
        CHECK(answer == "503");
        co_await site.come();
        answer = co_await site.ask();
        CHECK(answer == "ready up\n");
    };
    site.world.run(story());
}

TEST_CASE("agent-check: the client may die at any time, whatever hangs on it") {
    for (int steps = 0; steps < 40; ++steps) {
        Site site;
        site.world.run(site.come());
        site.world.background(site.ask("hello\n"));
        tcp::socket silent(site.world.io);
        silent.connect(loopback(site.agent));
        for (int step = 0; step < steps; ++step) site.world.io.run_one_for(1ms);
        site.membership.load_balancer.reset();
        for (int step = 0; step < steps % 3 * 20; ++step) site.world.io.run_one_for(1ms);
    }
}

TEST_CASE("agent-check: HAProxy drains the server, and takes the next task on its port back") {
    Site site;
    Backend web1(site.world.io, "web1");
    const auto front = free_port(site.world.io);
    const auto story = [&]() -> awaitable<void> {
        co_await site.come();
        HaproxyProcess haproxy(fmt::format(
            "frontend f\n  bind 127.0.0.1:{}\n  default_backend web\n"
            "backend web\n  server web1 127.0.0.1:{} check inter 100ms agent-check agent-port {} "
            "agent-inter 100ms agent-send \"hello\\n\"\n",
            front, web1.port(), site.agent));
        const auto passed = [&] { return haproxy.stat("web1", "agent_status") == "L7OK"; };
        co_await site.world.until("it was told to be up", passed);
        CHECK(haproxy.stat("web1", "status") == "UP");
        std::string answer = co_await get(front, "/");
        CHECK(status_of(answer) == "200");

        const auto held = site.world.background(get(front, "/hold"));
        co_await site.world.until("it is held", [&] { return web1.state().held == 1; });
        co_await site.go();
        CHECK(haproxy.stat("web1", "status") == "DRAIN (agent)");
        CHECK(haproxy.admin_state("web1") == "8");
        answer = co_await get(front, "/");
        CHECK(status_of(answer) == "503");
        CHECK_FALSE(held->has_value());
        web1.release();
        co_await site.world.until("it has its answer", [&] { return held->has_value(); });
        CHECK(status_of(**held) == "200");

        // The task is gone; nobody answers, and nothing changes until the next one does.
        site.membership = Membership();
        const auto refused = [&] { return haproxy.stat("web1", "agent_status") == "L4CON"; };
        co_await site.world.until("nobody answers", refused);
        CHECK(haproxy.admin_state("web1") == "8");
        site.membership = site.join(ready);
        co_await site.come();
        const auto back = [&] { return haproxy.stat("web1", "status") == "UP"; };
        co_await site.world.until("it is back", back);
        CHECK(haproxy.stat("web1", "weight") == "1");
        answer = co_await get(front, "/");
        CHECK(status_of(answer) == "200");
    };
    site.world.run(story());
}
