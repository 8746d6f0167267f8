#include "supervisor/connections.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fstream>
#include <sstream>

#include "supervisor/process.hpp"
#include "supervisor/sockets.hpp"
#include "tests/live/real_clock.hpp"
#include "tests/live/tcp.hpp"
#include "tests/unit/heard_log.hpp"

using namespace lastcall;

namespace {

struct OwnProcess final : Process {
    pid_t id() const override { return ::getpid(); }
    void signal(int, SignalScope) override {}
    awaitable<ExitStatus> exit() override { co_return ExitStatus{}; }
    awaitable<void> empty() override { co_return; }
    std::vector<Survivor> survivors() override { return {{.pid = ::getpid()}}; }
};

/// Real time, of which nobody sleeps through more than a tenth of a second: the look once a second
/// never comes.
struct ImpatientClock : RealClock {
    awaitable<void> sleep_until(time_point deadline) override {
        if (deadline - now() > 100ms) deadline = never;
        auto sleeping = RealClock::sleep_until(deadline);
        co_await std::move(sleeping);
    }
};

struct World {
    asio::io_context io;
    RealClock real;
    ImpatientClock impatient;
    Clock& clock;
    HeardLog log;
    Sockets sockets{io.get_executor(), clock, log};
    OwnProcess process;

    explicit World(bool looks = true) : clock(looks ? real : impatient) {}

    std::unique_ptr<Evidence> evidence(std::vector<std::uint16_t> ports, bool finds = false,
                                       bool whole_namespace = false) {
        std::vector<Process*> processes;
        if (finds) processes.push_back(&process);
        return task_connections(clock, io.get_executor(), sockets, std::move(ports), processes,
                                whole_namespace);
    }
    /// What is told next; an empty one after 5 s.
    Evidence::News next(Evidence& evidence) {
        Evidence::News heard;
        bool over = false;
        asio::co_spawn(io, evidence.news(), [&](std::exception_ptr error, Evidence::News news) {
            over = true;
            if (!error) heard = std::move(news);
        });
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        io.restart();
        while (!over && std::chrono::steady_clock::now() < end) {
            io.run_one_for(std::chrono::milliseconds(50));
        }
        for (const auto& line : log.lines) MESSAGE(line);
        REQUIRE(over);
        return heard;
    }
};

/// Whether the kernel has dropped events for a subscriber in this namespace: /proc/net/netlink.
bool has_dropped_events() {
    std::ifstream file("/proc/net/netlink");
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
        std::istringstream words(line);
        std::string socket, protocol, pid, groups, received, sent, dump, locks, drops;
        words >> socket >> protocol >> pid >> groups >> received >> sent >> dump >> locks >> drops;
        if (protocol == "4" && groups == "00000005" && drops != "0") return true;
    }
    return false;
}

std::size_t count(Evidence& evidence) { return evidence.open().value().size(); }

}  // namespace

TEST_CASE("evidence: somebody who waits counts, accepted or not, until the service has closed") {
    World world;
    const Listening server;
    const auto evidence = world.evidence({server.port});
    CHECK(count(*evidence) == 0);
    Socket client = server.connect();
    CHECK(count(*evidence) == 1);  // nobody has accepted it
    Socket accepted = server.accept();
    ::shutdown(client.get(), SHUT_WR);
    CHECK(count(*evidence) == 1);  // it may wait for its answer
    accepted.close();
    CHECK(count(*evidence) == 0);
}

TEST_CASE("evidence: bytes still on their way to the client count after the service has closed") {
    World world;
    const Listening server;
    const auto evidence = world.evidence({server.port});
    Socket client = server.connect();
    {
        const Socket accepted = server.accept();
        const std::string much(200'000, 'x');
        while (::send(accepted.get(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
        }
    }
    CHECK(count(*evidence) == 1);
    char buffer[65536];
    while (::recv(client.get(), buffer, sizeof buffer, 0) > 0) {
    }
    const auto read = world.clock.now();
    while (count(*evidence) > 0 && world.clock.now() < read + 5s) {  // its last ACK takes a while
    }
    CHECK(count(*evidence) == 0);
}

TEST_CASE("evidence: those that the task opened itself don't count, nor other ports") {
    World world;
    const Listening server, other;
    const Socket inbound = server.connect(), elsewhere = other.connect();
    CHECK(count(*world.evidence({server.port})) == 1);
    CHECK(count(*world.evidence({server.port, other.port})) == 2);
}

TEST_CASE("evidence: at rest only while nothing is owed") {
    World world;
    const Listening server;
    const Socket client = server.connect(), accepted = server.accept();
    const auto evidence = world.evidence({server.port});
    const auto resting = [&] { return evidence->open().value().begin()->second.rests_since; };
    CHECK_FALSE(resting());  // no byte was ours yet
    client.send("GET");
    CHECK_FALSE(resting());  // unread
    accepted.receive();
    CHECK_FALSE(resting());  // read, not answered
    accepted.send("200");
    client.receive();
    const auto answered = world.clock.now();
    while (!resting() && world.clock.now() < answered + 5s) {
    }
    REQUIRE(resting());
    CHECK(*resting() >= answered - 100ms);
    client.send("GET");
    accepted.receive();
    CHECK_FALSE(resting());
}

TEST_CASE("evidence: configured ports win, then named ones, then what the tree listens on") {
    World world;
    const Listening server;
    const Socket client = server.connect();
    SUBCASE("found") {
        const auto evidence = world.evidence({}, true);
        CHECK(evidence->listening() == true);
        CHECK(count(*evidence) >= 1);
        CHECK(evidence->ports().contains(server.port));
    }
    SUBCASE("named: what was found before counts no more") {
        const Listening other;
        const auto evidence = world.evidence({}, true);
        evidence->open();
        evidence->named(other.port);
        CHECK(evidence->listening() == true);
        CHECK(count(*evidence) == 0);
    }
    SUBCASE("configured: nobody else's word counts") {
        const auto evidence = world.evidence({server.port});
        evidence->named(1);
        CHECK(count(*evidence) == 1);
        CHECK(evidence->listening() == true);
    }
    SUBCASE("nothing known is no evidence, and no evidence isn't zero") {
        const auto evidence = world.evidence({});
        CHECK_FALSE(evidence->open());
        CHECK(evidence->trouble() == "no port of the task is known");
    }
    SUBCASE("as PID 1: every listener but loopback's and our own") {
        const auto evidence = world.evidence({}, false, true);
        evidence->open();
        CHECK_FALSE(evidence->ports().contains(server.port));  // the one here is our own
    }
}

TEST_CASE("evidence: a port that nobody ever listened on is a mistake, not zero") {
    World world;
    const Listening server;
    const auto wrong = world.evidence({1});
    CHECK_FALSE(wrong->open());
    CHECK(wrong->trouble() == "nobody has ever listened on port 1");
    const auto half_wrong = world.evidence({1, server.port});
    CHECK(half_wrong->open());
    CHECK(half_wrong->trouble() == "nobody has ever listened on port 1");
}

TEST_CASE("evidence: a port is remembered when its listener has closed") {
    World world;
    Listening server;
    const Socket client = server.connect(), accepted = server.accept();
    const auto evidence = world.evidence({}, true);
    CHECK(evidence->listening() == true);
    server.socket.close();
    const auto seen = evidence->open().value();
    CHECK(std::any_of(seen.begin(), seen.end(),
                      [&server](const auto& each) { return each.second.port == server.port; }));
}

TEST_CASE("evidence: the kernel tells of a close, without a look and of no other port's") {
    World world(false);
    const Listening server, other;
    const Socket client = server.connect(), elsewhere = other.connect();
    Socket accepted = server.accept(), accepted_elsewhere = other.accept();
    const auto evidence = world.evidence({server.port});
    evidence->watch(false);
    const auto cookie = evidence->open().value().begin()->first;
    accepted_elsewhere.close();
    accepted.close();
    const auto news = world.next(*evidence);
    CHECK(news.closed == std::vector{cookie});
    CHECK_FALSE(news.looked);
    evidence->unwatch();
}

TEST_CASE("evidence: each task hears of its own ports, from one subscription") {
    World world(false);
    const Listening one, two;
    const Socket first = one.connect(), second = two.connect();
    Socket accepted_first = one.accept(), accepted_second = two.accept();
    const auto of_one = world.evidence({one.port}), of_two = world.evidence({two.port});
    of_one->watch(false);
    of_two->watch(false);
    const auto cookie = of_two->open().value().begin()->first;
    accepted_first.close();
    CHECK(world.next(*of_one).closed.size() == 1);
    of_one->unwatch();
    accepted_second.close();
    CHECK(world.next(*of_two).closed == std::vector{cookie});
    of_two->unwatch();
}

TEST_CASE("evidence: watched again after the last one left") {
    World world(false);
    const Listening server;
    for (int round = 0; round < 3; ++round) {
        const auto evidence = world.evidence({server.port});
        const Socket client = server.connect();
        Socket accepted = server.accept();
        evidence->watch(false);
        accepted.close();
        CHECK(world.next(*evidence).closed.size() == 1);
        evidence->unwatch();
    }
    CHECK(world.log.lines.empty());
}

TEST_CASE("evidence: one that comes and goes between two looks is told of") {
    World world(false);
    const Listening server;
    const auto evidence = world.evidence({server.port});
    evidence->watch(false);
    CHECK(count(*evidence) == 0);
    {
        const Socket client = server.connect();
        server.accept().close();
    }
    const auto news = world.next(*evidence);
    CHECK(news.closed.size() == 1);
    evidence->unwatch();
}

TEST_CASE("evidence: what the service has closed before the look is no news when it ends") {
    World world(false);
    const Listening server;
    const auto evidence = world.evidence({server.port});
    Socket client = server.connect();
    server.accept().close();  // FIN_WAIT2 until the client closes too
    evidence->watch(false);
    CHECK(count(*evidence) == 0);
    Socket last = server.connect(), accepted_last = server.accept();
    client.close();
    accepted_last.close();
    const auto news = world.next(*evidence);
    CHECK(news.closed.size() == 1);
    evidence->unwatch();
}

TEST_CASE("evidence: more closes than the kernel keeps lead to a look at once") {
    World world(false);
    const Listening server;
    const auto evidence = world.evidence({server.port});
    evidence->watch(false);
    const Socket stays = server.connect(), accepted = server.accept();
    for (int burst = 0; burst < 1000 && !has_dropped_events(); ++burst) {
        for (int number = 0; number < 100; ++number) {  // nobody reads meanwhile
            const Socket client = server.connect();
            server.accept().reset();  // nothing of it stays in TIME_WAIT
        }
    }
    REQUIRE(has_dropped_events());
    auto news = world.next(*evidence);
    while (!news.looked) news = world.next(*evidence);
    REQUIRE(news.open);
    CHECK(news.open->size() == 1);
    evidence->unwatch();
}

TEST_CASE("evidence: where the kernel tells of no close, a look once a second does") {
    World world;
    const Listening server;
    const auto evidence = world.evidence({server.port});
    Socket client = server.connect(), accepted = server.accept();
    evidence->watch(false);
    CHECK(count(*evidence) == 1);
    client.reset();  // while the service holds its descriptor: no event
    const auto news = world.next(*evidence);
    CHECK(news.closed.empty());
    CHECK(news.looked);
    REQUIRE(news.open);
    CHECK(news.open->empty());
    evidence->unwatch();
}
