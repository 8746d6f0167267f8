#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "agent/lb/lb.hpp"
#include "tests/live/backend.hpp"
#include "tests/live/haproxy.hpp"
#include "tests/live/world.hpp"

// What every load balancer client must do, whatever is behind it.
using namespace lastcall;

namespace {

enum class Kind { haproxy_unix, haproxy_tcp, readiness };
constexpr Kind kinds[] = {Kind::haproxy_unix, Kind::haproxy_tcp, Kind::readiness};
const std::string names[] = {"haproxy over a unix socket", "haproxy over TCP", "readiness"};

/// A target behind a load balancer of one kind, and a client in front of it.
struct Bed {
    explicit Bed(Kind its_kind) : kind(its_kind), service(world.io, "web1") {
        front = free_port(world.io);
        const std::uint16_t admin = free_port(world.io);
        if (kind == Kind::readiness) {
            url = fmt::format("readiness://127.0.0.1:{}/ready", front);
        } else {
            haproxy.emplace(fmt::format("frontend f\n  bind 127.0.0.1:{}\n  default_backend web\n"
                                        "backend web\n  server web1 127.0.0.1:{}\n",
                                        front, service.port()),
                            fmt::format("  stats socket ipv4@127.0.0.1:{} level admin\n", admin));
            url = kind == Kind::haproxy_unix
                      ? fmt::format("haproxy://{}?server=web/web1", haproxy->socket())
                      : fmt::format("haproxy://127.0.0.1:{}?server=web/web1", admin);
        }
        membership = clients.membership(url);
        probe();
    }
    ~Bed() { stop_probing(); }
    void probe() {
        *stopped = false;
        probing = world.background(probe_for_ever());
    }
    void stop_probing() {
        *stopped = true;
        world.io.restart();
        while (!probing->has_value()) world.io.run_one();
    }

    LoadBalancer& balancer() { return *membership.load_balancer; }
    const std::string& target() { return membership.target; }
    /// "200" if the load balancer would send it new requests.
    awaitable<std::string> in_service() {
        const std::string answer = co_await get(front, "/ready");
        co_return status_of(answer);
    }
    /// What a readiness endpoint waits for; HAProxy's requests just pass.
    awaitable<bool> probe_for_ever() {
        const auto stop = stopped;
        while (!*stop && kind == Kind::readiness) {
            try {
                co_await get(front, "/ready");
            } catch (const boost::system::system_error&) {  // nobody listens yet
            }
            co_await world.clock.sleep_until(world.clock.now() + 5ms);
        }
        co_return true;
    }
    /// Nothing that was given up is still being done: HAProxy's only session is the one that asks.
    awaitable<void> undisturbed() {
        const auto alone = [this] {
            const std::string sessions = haproxy ? haproxy->command("show sess") : "\n\n";
            return std::count(sessions.begin(), sessions.end(), '\n') == 2;
        };
        return world.until("HAProxy is undisturbed", alone);
    }
    awaitable<TargetReport> settled() {
        for (;;) {
            const TargetReport report = co_await balancer().state_of(target());
            if (kind == Kind::readiness || report.state == TargetState::unused) co_return report;
            co_await world.clock.sleep_until(world.clock.now() + 50ms);
        }
    }

    World world;
    Kind kind;
    Backend service;
    std::uint16_t front = 0;
    std::string url;
    std::optional<HaproxyProcess> haproxy;
    LoadBalancers clients{world.io.get_executor(), world.clock, world.log, "", {}};
    Membership membership;
    std::shared_ptr<bool> stopped = std::make_shared<bool>(false);
    Later<bool> probing;
};

template <class Behaviour>
void every_client(Behaviour behaviour) {
    for (const Kind kind : kinds) {
        const std::string name = names[static_cast<int>(kind)];
        CAPTURE(name);
        Bed bed(kind);
        bed.world.run(behaviour(bed));
    }
}

awaitable<void> comes_and_goes(Bed& bed) {
    co_await bed.balancer().register_target(bed.target());
    TargetReport report = co_await bed.balancer().state_of(bed.target());
    CHECK(report.state == TargetState::healthy);
    std::string status = co_await bed.in_service();
    CHECK(status == "200");

    for (int twice = 0; twice < 2; ++twice) {
        co_await bed.balancer().deregister(bed.target());
        status = co_await bed.in_service();
        CHECK(status == "503");
        report = co_await bed.balancer().state_of(bed.target());
        CHECK(report.state == TargetState::draining);
    }

    for (int twice = 0; twice < 2; ++twice) {
        co_await bed.balancer().register_target(bed.target());
        report = co_await bed.balancer().state_of(bed.target());
        CHECK(report.state == TargetState::healthy);
        status = co_await bed.in_service();
        CHECK(status == "200");
    }
}

awaitable<void> drains(Bed& bed) {
    const bool knows = bed.membership.knows;
    co_await bed.balancer().register_target(bed.target());
    const auto held = bed.world.background(
        get(bed.kind == Kind::readiness ? bed.service.port() : bed.front, "/hold"));
    co_await bed.world.until("the request is held", [&] { return bed.service.state().held == 1; });
    co_await bed.balancer().deregister(bed.target());
    for (int look = 0; look < 5; ++look) {
        const TargetReport report = co_await bed.balancer().state_of(bed.target());
        CHECK(report.state == TargetState::draining);
        CHECK(report.connections == (knows ? std::optional<std::int64_t>(1) : std::nullopt));
        co_await bed.world.clock.sleep_until(bed.world.clock.now() + 50ms);
    }
    bed.service.release();
    const TargetReport last = co_await bed.settled();
    CHECK(last.state == (knows ? TargetState::unused : TargetState::draining));
    CHECK(last.connections == (knows ? std::optional<std::int64_t>(0) : std::nullopt));
    const TargetReport again = co_await bed.balancer().state_of(bed.target());
    CHECK(again.state == last.state);
    co_await bed.world.until("the answer is there", [&] { return held->has_value(); });
    CHECK(status_of(**held) == "200");

    co_await bed.balancer().deregister(bed.target());  // once more, when all is over
    const TargetReport still = co_await bed.balancer().state_of(bed.target());
    CHECK(still.state == last.state);
    co_await bed.balancer().register_target(bed.target());
    const std::string status = co_await bed.in_service();
    CHECK(status == "200");
}

/// Runs `work` for so many steps of the loop, then cancels it: whether it was cancelled.
bool cancelled_after(World& world, int steps, awaitable<void> work) {
    asio::cancellation_signal signal;
    bool ended = false;
    bool cancelled = false;
    asio::co_spawn(world.io, std::move(work),
                   asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr error) {
                       ended = true;
                       try {
                           if (error) std::rethrow_exception(error);
                       } catch (const boost::system::system_error& aborted) {
                           cancelled = aborted.code() == asio::error::operation_aborted;
                           if (!cancelled) throw;
                       }
                   }));
    world.io.restart();
    for (int step = 0; step < steps && !ended; ++step) world.io.run_one_for(3ms);
    bool emitted = false;  // inside the loop: outside, Asio would emit later, to whoever is left
    asio::post(world.io, [&] {
        signal.emit(asio::cancellation_type::terminal);
        emitted = true;
    });
    for (int step = 0; step < 100 && !(ended && emitted); ++step) world.io.run_one_for(20ms);
    REQUIRE(ended);
    return cancelled;
}

awaitable<void> cycle(Bed& bed) {
    co_await bed.balancer().register_target(bed.target());
    // A readiness endpoint that was probed waits for probes from now on.
    if (bed.kind == Kind::readiness) co_await bed.in_service();
    co_await bed.balancer().deregister(bed.target());
    co_await bed.settled();
}

}  // namespace

TEST_CASE("every client: a target comes and goes, however often it is said") {
    every_client(comes_and_goes);
}

TEST_CASE("every client: a target drains until its last request has its answer") {
    every_client(drains);
}

TEST_CASE("every client: any request can be cancelled at any await, and leaves nothing open") {
    for (const Kind kind : kinds) {
        const std::string name = names[static_cast<int>(kind)];
        CAPTURE(name);
        Bed bed(kind);
        *bed.stopped = true;
        bed.world.run(bed.balancer().register_target(bed.target()));
        bed.world.run(
            bed.world.until("the prober is gone", [&] { return bed.probing->has_value(); }));
        const std::size_t files = open_files();
        int times = 0;
        for (int steps = 0; steps < 40; ++steps) {
            times += cancelled_after(bed.world, steps, cycle(bed));
            bed.world.run(bed.undisturbed());
            bed.world.run(bed.world.until("all is closed", [&] { return open_files() == files; }));
        }
        CHECK(times > 10);
        bed.probe();
        bed.world.run(comes_and_goes(bed));
    }
}

TEST_CASE("every client: what can't be reached is an error that a retry may mend") {
    World world;
    tcp::acceptor taken(world.io, loopback(0));
    const auto nobody = free_port(world.io);
    LoadBalancers clients(world.io.get_executor(), world.clock, world.log, "", {});
    const std::string urls[] = {
        "haproxy:///tmp/lastcall-no-such-socket?server=web/web1",
        fmt::format("haproxy://127.0.0.1:{}?server=web/web1", nobody),
        fmt::format("readiness://127.0.0.1:{}/ready", taken.local_endpoint().port()),
    };
    const std::string errors[] = {
        "cannot register web/web1 at haproxy:///tmp/lastcall-no-such-socket: connect: No such file "
        "or "
        "directory",
        fmt::format(
            "cannot register web/web1 at haproxy://127.0.0.1:{}: connect: Connection refused",
            nobody),
        fmt::format("cannot listen on readiness://127.0.0.1:{}: bind: Address already in use",
                    taken.local_endpoint().port()),
    };
    for (int i = 0; i < 3; ++i) {
        const Membership membership = clients.membership(urls[i]);
        try {
            world.run(membership.load_balancer->register_target(membership.target));
            FAIL("it was registered");
        } catch (const LoadBalancerError& error) {
            CHECK(std::string(error.what()) == errors[i]);
            CHECK(error.retry());
        }
    }
}

TEST_CASE("one client serves all targets of a load balancer, and dies with the last") {
    World world;
    LoadBalancers clients(world.io.get_executor(), world.clock, world.log, "", {});
    auto one =
        clients.membership("haproxy:///run/x.sock?server=web/web1&timeout=2s&drain=idle&port=80");
    auto two = clients.membership("haproxy:/run/x.sock?server=web/web2&register=0");
    const auto other = clients.membership("haproxy:///run/y.sock?server=web/web1");
    CHECK(one.load_balancer == two.load_balancer);
    CHECK(one.load_balancer != other.load_balancer);
    CHECK(one.target == "web/web1");
    CHECK(one.timeout == 2s);
    CHECK(one.drain == DrainMode::idle);
    CHECK(one.port == 80);
    CHECK(one.registers);
    CHECK(two.timeout == 5s);
    CHECK_FALSE(two.registers);
    CHECK(two.knows);
    const std::weak_ptr<LoadBalancer> alive = one.load_balancer;
    one.load_balancer.reset();
    CHECK_FALSE(alive.expired());
    two.load_balancer.reset();
    CHECK(alive.expired());
    const auto ready = clients.membership("readiness://127.0.0.1:1/r?settle=3s");
    CHECK_FALSE(ready.knows);
    CHECK(ready.settle == 3s);
    CHECK_THROWS_AS(clients.membership("x:y"), std::invalid_argument);
}
