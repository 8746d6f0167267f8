#include <doctest/doctest.h>
#include <fmt/format.h>

#include "agent/lb/lb.hpp"
#include "tests/live/backend.hpp"
#include "tests/live/haproxy.hpp"
#include "tests/live/world.hpp"

// HAProxy's traps, each with a real one.
using namespace lastcall;

namespace {

struct Options {
    std::string frontend = "";  ///< more lines of the frontend
    std::string backend = "";   ///< more lines of the backend
    std::string server = "";    ///< more words of each server line
    HaproxyProcess::Mode mode = HaproxyProcess::Mode::single;
    bool second = true;  ///< web2 is there too
    std::string settle = "";
};

/// web1 (ours) and web2 behind one HAProxy; frontend and backend have the same name, as often.
struct Site {
    explicit Site(const Options& options = {})
        : web1(world.io, "web1"),
          web2(world.io, "web2"),
          front(free_port(world.io)),
          haproxy(config(options), "", options.mode),
          membership(clients.membership(url("web/web1") + options.settle)) {}

    std::string config(const Options& options) {
        std::string text = fmt::format(
            "frontend web\n  bind 127.0.0.1:{}\n{}  default_backend web\nbackend web\n{}"
            "  server web1 127.0.0.1:{} cookie c1 {}\n",
            front, options.frontend, options.backend, web1.port(), options.server);
        if (options.second) {
            text += fmt::format("  server web2 127.0.0.1:{} cookie c2 {}\n", web2.port(),
                                options.server);
        }
        return text;
    }
    std::string url(const std::string& server, const std::string& level = "admin") {
        return fmt::format("haproxy://{}?server={}", haproxy.socket(level), server);
    }
    LoadBalancer& balancer() { return *membership.load_balancer; }
    awaitable<TargetReport> look() { return balancer().state_of(membership.target); }
    awaitable<void> deregister() { return balancer().deregister(membership.target); }
    awaitable<void> pause() { return world.clock.sleep_until(world.clock.now() + membership.poll); }

    /// Asks as the drain loop does, until it is unused; returns how often it asked.
    awaitable<int> unused() {
        for (int looks = 1;; ++looks) {
            const TargetReport report = co_await look();
            if (report.state == TargetState::unused) co_return looks;
            CHECK(report.state == TargetState::draining);
            co_await pause();
        }
    }
    /// A request that web1 holds until it is released.
    awaitable<Later<std::string>> hold(std::string header = "") {
        const int before = web1.state().held;
        for (;;) {
            auto held = world.background(get(front, "/hold", header));
            const auto arrived = [&] { return web1.state().held + web2.state().held > before; };
            co_await world.until("the request is held", arrived);
            if (web1.state().held > before) co_return held;
            web2.release();
            co_await world.until("web2 has answered", [&] { return web2.state().held == 0; });
        }
    }
    awaitable<void> answered(Later<std::string> held) {
        co_await world.until("the answer is there", [&] { return held->has_value(); });
        CHECK(status_of(**held) == "200");
    }

    World world;
    Backend web1, web2;
    std::uint16_t front;
    HaproxyProcess haproxy;
    LoadBalancers clients{world.io.get_executor(), world.clock, world.log, "", {}};
    Membership membership;
};

/// What `work` throws, "+" before it if a retry may help.
std::string error(World& world, awaitable<void> work) {
    try {
        world.run(std::move(work));
        return "";
    } catch (const LoadBalancerError& refused) {
        return (refused.retry() ? "+" : "") + std::string(refused.what());
    }
}

awaitable<void> ask(Site& site) { co_await site.look(); }

}  // namespace

TEST_CASE("haproxy: a server or a backend that it doesn't know won't mend itself") {
    Site site;
    for (const std::string target : {"web/web9", "nope/web1"}) {
        const Membership other = site.clients.membership(site.url(target));
        const std::string name = target == "web/web9" ? "No such server." : "Can't find backend.";
        const std::string socket = "haproxy://" + site.haproxy.socket();
        CHECK(error(site.world, other.load_balancer->deregister(target)) ==
              fmt::format("cannot ask {} about {}: {}", socket, target, name));
        CHECK(error(site.world, other.load_balancer->register_target(target)) ==
              fmt::format("cannot register {} at {}: {}", target, socket, name));
    }
}

TEST_CASE("haproxy: without admin level it can be asked and not told") {
    Site site;
    const Membership weak = site.clients.membership(site.url("web/web1", "operator"));
    const std::string socket = "haproxy://" + site.haproxy.socket("operator");
    CHECK(error(site.world, weak.load_balancer->deregister("web/web1")) ==
          fmt::format("cannot deregister web/web1 at {}: Permission denied", socket));
    const auto asks = [&]() -> awaitable<void> {
        const TargetReport report = co_await weak.load_balancer->state_of("web/web1");
        CHECK(report.state == TargetState::healthy);
        CHECK(report.port == site.web1.port());
    };
    site.world.run(asks());
}

TEST_CASE("haproxy: a socket that we may not open won't mend itself") {
    if (::geteuid() != 0) return;  // the file is ours, and so would be the permission
    Site site;
    REQUIRE(::chmod(site.haproxy.socket().c_str(), 0) == 0);
    REQUIRE(::seteuid(65534) == 0);
    const std::string what = error(site.world, site.deregister());
    REQUIRE(::seteuid(0) == 0);
    CHECK(what.find("connect: Permission denied") != std::string::npos);
    CHECK(what.front() != '+');
}

TEST_CASE("haproxy: killed and restarted while draining, it is told again") {
    Site site;
    site.world.run(site.deregister());
    site.haproxy.kill();
    CHECK(error(site.world, ask(site)).find("connect: Connection refused") != std::string::npos);
    CHECK(error(site.world, ask(site)).front() == '+');
    CHECK(error(site.world, site.deregister()).front() == '+');
    site.haproxy.start();
    CHECK(site.haproxy.admin_state("web1") == "0");
    site.world.run(ask(site));
    CHECK(site.haproxy.admin_state("web1") == "8");
    CHECK(site.world.log.count("forgot") == 1);
    const auto ends = [&]() -> awaitable<void> { co_await site.unused(); };
    site.world.run(ends());
    CHECK(site.haproxy.admin_state("web1") == "1");
}

TEST_CASE("haproxy: hung, it holds nobody: the question can be given up, and asked again later") {
    Site site;
    site.world.run(site.deregister());
    const std::size_t files = open_files();
    site.haproxy.hang();
    const auto gives_up = [&]() -> awaitable<void> {
        for (int i = 0; i < 5; ++i) {
            const auto limit = site.world.clock.now() + 50ms;
            const auto report = co_await before(site.world.clock, limit, site.look());
            CHECK_FALSE(report);
        }
    };
    site.world.run(gives_up());
    CHECK(open_files() == files);
    site.haproxy.go_on();
    const auto ends = [&]() -> awaitable<void> { co_await site.unused(); };
    site.world.run(ends());
    CHECK(site.haproxy.admin_state("web1") == "1");
}

TEST_CASE(
    "haproxy: hung with a full backlog it is an error that a retry may mend, not a wait for ever") {
    Site site;
    site.haproxy.hang();
    const auto asks = [&]() -> awaitable<void> {
        for (int i = 0; i < 200; ++i) {
            const auto limit = site.world.clock.now() + 10ms;
            try {
                co_await before(site.world.clock, limit, site.look());
            } catch (const LoadBalancerError& error) {
                CHECK(error.retry());
                co_return;
            }
        }
    };
    site.world.run(asks());
    site.haproxy.go_on();
}

TEST_CASE(
    "haproxy: a reload forgets the drain; it is said again, and its word isn't enough any more") {
    Site site({.mode = HaproxyProcess::Mode::master_worker});
    const auto story = [&]() -> awaitable<void> {
        const auto held = co_await site.hold();
        co_await site.deregister();
        TargetReport report = co_await site.look();
        CHECK(report.connections == 1);
        CHECK_FALSE(report.partial);

        site.haproxy.reload();
        CHECK(site.haproxy.admin_state("web1") == "0");
        report = co_await site.look();
        CHECK(report.state == TargetState::draining);
        CHECK(report.partial);
        CHECK_FALSE(report.connections);
        CHECK(site.haproxy.admin_state("web1") == "8");

        co_await site.unused();
        CHECK(site.haproxy.admin_state("web1") == "1");
        CHECK(site.world.log.count("forgot") == 1);
        CHECK(site.world.log.count("an old process") == 1);

        // And once more when all was over, with other numbers for backend and server.
        site.haproxy.edit("\nbackend web\n", "\nbackend more\nbackend web\n");
        site.haproxy.edit("  server web1", "  server web0 127.0.0.1:1\n  server web1");
        site.haproxy.reload();
        report = co_await site.look();
        CHECK(report.state == TargetState::draining);
        co_await site.unused();
        CHECK(site.haproxy.admin_state("web1") == "1");
        CHECK(site.world.log.count("forgot") == 1);

        CHECK(site.web1.state().held == 1);  // the old process has it still
        site.web1.release();
        co_await site.answered(held);
    };
    site.world.run(story());
}

TEST_CASE(
    "haproxy: maintenance comes after zero, twice and 100 ms apart, and purges the idle pool") {
    Site site({.backend = "  http-reuse always\n", .server = "pool-purge-delay 60s"});
    const auto story = [&]() -> awaitable<void> {
        std::vector<Later<std::string>> held;
        for (int i = 0; i < 3; ++i) {
            const auto one = co_await site.hold();
            held.push_back(one);
        }
        co_await site.deregister();
        TargetReport report = co_await site.look();
        CHECK(report.connections == 3);
        site.web1.release();
        for (const auto& one : held) co_await site.answered(one);
        CHECK(site.web1.state().connections == 3);  // the pool

        report = co_await site.look();
        const auto zero = site.world.clock.now();
        CHECK(report.state == TargetState::draining);
        CHECK(report.connections == 0);
        CHECK(site.haproxy.admin_state("web1") == "8");
        co_await site.unused();
        CHECK(site.world.clock.now() - zero >= 100ms);
        CHECK(site.haproxy.admin_state("web1") == "1");
        CHECK(site.haproxy.stat("web1", "srv_icur") == "0");
        co_await site.world.until("the pool is closed",
                                  [&] { return site.web1.state().connections == 0; });
    };
    site.world.run(story());
}

TEST_CASE("haproxy: a pool that fills up again in maintenance is purged again") {
    Site site({.backend = "  http-reuse always\n", .server = "pool-purge-delay 60s"});
    const auto story = [&]() -> awaitable<void> {
        const auto held = co_await site.hold();
        site.haproxy.command("set server web/web1 state maint");  // somebody else's hand
        co_await site.deregister();
        CHECK(site.haproxy.admin_state("web1") == "1");  // not back to drain
        TargetReport report = co_await site.look();
        CHECK(report.state == TargetState::draining);
        CHECK(report.connections == 1);
        site.web1.release();
        co_await site.answered(held);
        CHECK(site.web1.state().connections == 1);
        co_await site.unused();
        CHECK(site.haproxy.stat("web1", "srv_icur") == "0");
        co_await site.world.until("the pool is closed",
                                  [&] { return site.web1.state().connections == 0; });
    };
    site.world.run(story());
}

TEST_CASE("haproxy: with on-marked-down shutdown-sessions no request is cut") {
    Site site({.server = "on-marked-down shutdown-sessions", .settle = "&settle=0"});
    const auto story = [&]() -> awaitable<void> {
        const auto held = co_await site.hold();
        co_await site.deregister();
        for (int look = 0; look < 10; ++look) {
            const TargetReport report = co_await site.look();
            CHECK(report.state == TargetState::draining);
            CHECK(report.connections == 1);
            CHECK(site.haproxy.admin_state("web1") == "8");
        }
        site.web1.release();
        co_await site.answered(held);
        const int looks = co_await site.unused();
        CHECK(looks <= 3);
        CHECK(site.haproxy.admin_state("web1") == "1");
    };
    site.world.run(story());
}

TEST_CASE("haproxy: a drained server whose check fails shows DOWN, and still ends its drain") {
    Site site({.backend = "  option httpchk GET /check\n", .server = "check inter 50ms fall 1"});
    const auto story = [&]() -> awaitable<void> {
        const auto held = co_await site.hold();
        co_await site.deregister();
        site.web1.check(503);
        const auto down = [&] { return site.haproxy.stat("web1", "status").rfind("DOWN", 0) == 0; };
        co_await site.world.until("it is shown as DOWN", down);
        CHECK(site.haproxy.admin_state("web1") == "8");
        const TargetReport report = co_await site.look();
        CHECK(report.state == TargetState::draining);
        CHECK(report.connections == 1);
        site.web1.release();
        co_await site.answered(held);
        co_await site.unused();
        CHECK(site.haproxy.admin_state("web1") == "1");
    };
    site.world.run(story());
}

TEST_CASE("haproxy: before deregistration it says how the server is") {
    Site site(
        {.backend = "  option httpchk GET /check\n", .server = "check inter 50ms fall 1 rise 1"});
    const auto story = [&]() -> awaitable<void> {
        const auto held = co_await site.hold();
        TargetReport report = co_await site.look();
        CHECK(report.state == TargetState::healthy);
        CHECK(report.port == site.web1.port());
        CHECK(report.connections == 1);
        site.web1.release();
        co_await site.answered(held);
        report = co_await site.look();
        CHECK(report.connections == 0);
        site.web1.check(500);
        const auto down = [&] { return site.haproxy.state("web1", "srv_op_state") == "0"; };
        co_await site.world.until("it is down", down);
        report = co_await site.look();
        CHECK(report.state == TargetState::unhealthy);
        site.haproxy.command("set server web/web1 state drain");
        report = co_await site.look();
        CHECK(report.state == TargetState::draining);
        site.haproxy.command("set server web/web1 state maint");
        report = co_await site.look();
        CHECK(report.state == TargetState::unused);
        CHECK(site.haproxy.admin_state("web1") == "1");
    };
    site.world.run(story());
}

TEST_CASE("haproxy: in TCP mode a tunnel counts until it is closed") {
    Site site({.frontend = "  mode tcp\n", .backend = "  mode tcp\n", .second = false});
    const auto story = [&]() -> awaitable<void> {
        tcp::socket tunnel(site.world.io);
        co_await tunnel.async_connect(loopback(site.front), use_awaitable);
        const std::string request = "GET /x HTTP/1.1\r\n\r\n";
        const auto bytes = asio::buffer(request);
        co_await asio::async_write(tunnel, bytes, use_awaitable);
        co_await site.world.until("it is through", [&] { return site.web1.state().requests == 1; });
        co_await site.deregister();
        for (int look = 0; look < 5; ++look) {
            const TargetReport report = co_await site.look();
            CHECK(report.state == TargetState::draining);
            CHECK(report.connections == 1);
            co_await site.pause();
        }
        tunnel.close();
        co_await site.unused();
    };
    site.world.run(story());
}

TEST_CASE("haproxy: a client with a cookie reaches a drained server, and none in maintenance") {
    Site site({.backend = "  cookie SRV insert\n"});
    const std::string cookie = "Cookie: SRV=c1\r\n";
    const auto story = [&]() -> awaitable<void> {
        co_await site.deregister();
        std::string answer = co_await get(site.front, "/", cookie);
        CHECK(answer.find("web1") != std::string::npos);
        const auto held = co_await site.hold(cookie);
        TargetReport report = co_await site.look();
        CHECK(report.connections == 1);
        site.web1.release();
        co_await site.answered(held);
        co_await site.unused();
        answer = co_await get(site.front, "/", cookie);
        CHECK(answer.find("web2") != std::string::npos);
    };
    site.world.run(story());
}

TEST_CASE("haproxy: a request between two looks at zero begins the wait again") {
    Site site({.backend = "  cookie SRV insert\n", .settle = "&settle=150ms"});
    const auto story = [&]() -> awaitable<void> {
        co_await site.deregister();
        co_await site.look();  // zero
        const auto held = co_await site.hold("Cookie: SRV=c1\r\n");
        co_await site.look();  // not zero
        const auto busy = site.world.clock.now();
        site.web1.release();
        co_await site.answered(held);
        co_await site.unused();
        CHECK(site.world.clock.now() - busy >= 150ms);
    };
    site.world.run(story());
}

TEST_CASE("haproxy: requests in the server's queue count") {
    Site site({.backend = "  cookie SRV insert\n", .server = "maxconn 1", .second = false});
    const std::string cookie =
        "Cookie: SRV=c1\r\n";  // without it the backend queues, not the server
    const auto story = [&]() -> awaitable<void> {
        const auto held = co_await site.hold(cookie);
        const auto queued = site.world.background(get(site.front, "/x", cookie));
        const auto waits = [&] { return site.haproxy.stat("web1", "qcur") == "1"; };
        co_await site.world.until("it is queued", waits);
        co_await site.deregister();
        const TargetReport report = co_await site.look();
        CHECK(report.state == TargetState::draining);
        CHECK(report.connections == 2);
        site.web1.release();
        co_await site.answered(held);
        co_await site.answered(queued);
        co_await site.unused();
    };
    site.world.run(story());
}

TEST_CASE("haproxy: rubbish, silence and an endless answer are errors, within bounds") {
    World world;
    LoadBalancers clients(world.io.get_executor(), world.clock, world.log, "", {});
    const auto answers = [&](std::string text, int times) {
        auto acceptor = std::make_shared<tcp::acceptor>(world.io, loopback(0));
        const auto serve = [](std::shared_ptr<tcp::acceptor> from, std::string what,
                              int often) -> awaitable<void> {
            tcp::socket socket = co_await from->async_accept(use_awaitable);
            std::string line;
            auto buffer = asio::dynamic_buffer(line);
            co_await asio::async_read_until(socket, buffer, "\n", use_awaitable);
            const auto bytes = asio::buffer(what);
            for (int i = 0; i < often; ++i)
                co_await asio::async_write(socket, bytes, use_awaitable);
        };
        asio::co_spawn(world.io, serve(acceptor, std::move(text), times),
                       [](std::exception_ptr) {});
        return fmt::format("haproxy://127.0.0.1:{}", acceptor->local_endpoint().port());
    };
    const auto refused = [&](const std::string& text, int times) {
        const std::string name = answers(text, times);
        const Membership membership = clients.membership(name + "?server=web/web1");
        const std::string what = error(world, membership.load_balancer->deregister("web/web1"));
        const std::string start = fmt::format("cannot ask {} about web/web1: ", name);
        const auto at = what.find(start);
        CHECK(at != std::string::npos);
        return what.substr(0, at) + what.substr(at + start.size());
    };
    CHECK(refused("", 0) == "+it closed the connection without an answer");
    CHECK(refused("HTTP/1.1 400 Bad Request\r\n\r\n", 1) ==
          "+its answer is cut short after 'HTTP/1.1 400 Bad Request?'");
    CHECK(refused("Permission denied\n\n", 1) ==
          "+its answer is cut short after 'Permission denied'");
    CHECK(refused("a\n\nb\n\nc\n\n", 1) == "+a");
    CHECK(refused(std::string(1 << 16, 'x'), 32) == "its answer is over 1 MiB");
}
