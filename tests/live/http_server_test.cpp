#include "tests/live/http_test_server.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <vector>

using namespace lastcall;
using api::HttpLimits;

TEST_CASE("a request is answered, and the peer is who the kernel says it is") {
    Server server;
    const std::string text = answer_to(server,
                                       "POST /echo?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                       "Content-Length: 5\r\n\r\nhello");
    CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(text.find("\r\nConnection: close\r\n") != text.npos);
    CHECK(text.ends_with(
        fmt::format("\r\n\r\nPOST /echo?a=b uid {} pid {}: hello", ::getuid(), ::getpid())));
}

TEST_CASE("a connection is kept, and requests may come all at once or byte by byte") {
    Server server;
    Client client(server.path);
    client.send(ping);
    CHECK(client.pong().starts_with("HTTP/1.1 200"));
    client.send(std::string(ping) + std::string(ping) +
                "GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n");
    CHECK(count(client.read_to_end(), "pong") == 3);
    Client slow(server.path);
    for (const char byte : ping) slow.send(std::string_view(&byte, 1));
    CHECK(slow.pong().ends_with("pong"));
    slow.finish_writing();
    CHECK(slow.read_to_end() == "");
}

TEST_CASE("HEAD, HTTP/1.0, an absolute target and 100-continue are understood") {
    Server server;
    const std::string head = answer_to(server, "HEAD /ping HTTP/1.1\r\nConnection: close\r\n\r\n");
    CHECK(head.find("Content-Length: 4\r\n") != head.npos);
    CHECK(head.ends_with("\r\n\r\n"));
    CHECK(answer_to(server, "GET /ping HTTP/1.0\r\n\r\n").ends_with("pong"));
    CHECK(
        answer_to(server, "PUT http://agent/echo HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
    Client client(server.path);
    client.send("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    CHECK(client.read_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("xyz");
    CHECK(client.read_until("xyz").starts_with("HTTP/1.1 200 OK"));
}

TEST_CASE("what is no HTTP is told so at once and left") {
    Server server;
    for (const std::string_view rubbish :
         {"hello\r\n", "\x16\x03\x01\x02", "GET / HTTP/2.0\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n",
          "\r\n\r\n", "GET / HTTP/1.1\r\nno colon here\r\n\r\n", "{\"drain\": true}",
          "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
          "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"}) {
        CAPTURE(rubbish);
        const std::string text = answer_to(server, rubbish);
        CHECK(text.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        CHECK(text.find("Content-Type: application/problem+json\r\n") != text.npos);
        CHECK(text.find("\"detail\":\"cannot read the request: ") != text.npos);
    }
    CHECK(answer_to(server, std::string(ping) + "rubbish") != "");
}

TEST_CASE("a request that ends too early is told so") {
    Server server;
    Client client(server.path);
    client.send("POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc");
    client.finish_writing();
    const std::string text = client.read_to_end();
    CHECK(text.starts_with("HTTP/1.1 400 "));
    CHECK(text.find("the request ended too early") != text.npos);
}

TEST_CASE(
    "a body up to the limit is taken, one beyond it is refused, and so is one of unknown length") {
    Server server;
    const std::string most(1 << 20, 'x');
    const auto announced = [](std::size_t size) {
        return fmt::format("POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                           size);
    };
    CHECK(answer_to(server, announced(most.size()) + most).ends_with(most));
    const std::string refused = answer_to(server, announced(most.size() + 1) + most + "x");
    CHECK(refused.starts_with("HTTP/1.1 413 Content Too Large\r\n"));
    CHECK(refused.find("the body is longer than 1048576 bytes") != refused.npos);
    CHECK(answer_to(server, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
              .starts_with("HTTP/1.1 411 Length Required\r\n"));
}

TEST_CASE("a header beyond its limit is refused") {
    Server server;
    const std::string line = "GET /ping HTTP/1.1\r\nConnection: close\r\nX: ";
    CHECK(answer_to(server, line + std::string(15'000, 'x') + "\r\n\r\n").ends_with("pong"));
    const std::string refused = answer_to(server, line + std::string(20'000, 'x') + "\r\n\r\n");
    CHECK(refused.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    CHECK(refused.find("the header is longer than 16384 bytes") != refused.npos);
    CHECK(answer_to(server, "GET /" + std::string(100'000, 'x')).starts_with("HTTP/1.1 431 "));
}

TEST_CASE("half a request and silence: a 408 when the time is over") {
    HttpLimits limits;
    limits.request = 50ms;
    Server server(limits);
    for (const std::string_view half :
         {"GET /pi", "POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"}) {
        Client client(server.path);
        client.send(half);
        CHECK(client.read_to_end().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    }
}

TEST_CASE("a connection at rest is closed without a word") {
    HttpLimits limits;
    limits.rest = 50ms;
    Server server(limits);
    Client never_spoke(server.path), spoke(server.path);
    spoke.send(ping);
    CHECK(spoke.pong().ends_with("pong"));
    CHECK(spoke.read_to_end() == "");
    CHECK(never_spoke.read_to_end() == "");
}

TEST_CASE("a peer that takes no answer is left") {
    HttpLimits limits;
    limits.answer = 50ms;
    Server server(limits);
    const std::string large(1 << 20, 'x');
    Client deaf(server.path);
    deaf.send(fmt::format("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n\r\n", large.size()) +
              large);
    Client other(server.path);
    other.send(ping);
    CHECK(other.pong().ends_with("pong"));
    CHECK(deaf.is_hung_up());
    CHECK(deaf.read_to_end().size() < large.size());
}

TEST_CASE("what the handler throws is a 500, and the connection goes on") {
    Server server;
    Client client(server.path);
    client.send("GET /throw HTTP/1.1\r\n\r\n");
    const std::string text = client.read_until("}");
    CHECK(text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    CHECK(text.find("\"detail\":\"cannot do it: no way\"") != text.npos);
    client.send(ping);
    CHECK(client.pong().ends_with("pong"));
}

TEST_CASE("a client that disappears cancels nothing") {
    Server server;
    {
        Client client(server.path);
        client.send("GET /slow HTTP/1.1\r\n\r\n");
        server.wait_for(server.slow_inside, 1);
    }
    Client other(server.path);
    other.send(ping);
    CHECK(other.pong().ends_with("pong"));
    CHECK(server.slow_finished == 0);
    server.release_slow();
    server.wait_for(server.slow_finished, 1);
    other.send(ping);
    CHECK(other.pong().ends_with("pong"));
}

TEST_CASE("300 connections: those at rest make room for new ones") {
    Server server;
    std::vector<Client> clients;
    for (int i = 0; i < 300; ++i) {
        clients.emplace_back(server.path);
        REQUIRE(clients.back().connected);
        clients.back().send(ping);
        REQUIRE(clients.back().pong().ends_with("pong"));
    }
    CHECK(clients.front().read_to_end() == "");  // the longest at rest had to leave
    clients.back().send(ping);
    CHECK(clients.back().pong().ends_with("pong"));
}

TEST_CASE("more requests at once than the limit: the last is told so, the others are served") {
    HttpLimits limits;
    limits.connections = 3;
    Server server(limits);
    std::vector<Client> clients;
    for (int i = 0; i < 3; ++i) {
        clients.emplace_back(server.path);
        clients.back().send("GET /slow HTTP/1.1\r\n\r\n");
    }
    server.wait_for(server.slow_inside, 3);
    CHECK(answer_to(server, ping).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    server.release_slow();
    for (Client& each : clients) CHECK(each.pong().ends_with("pong"));
}

TEST_CASE("without a free descriptor the server waits and then goes on") {
    Server server;
    Client first(server.path);
    first.send(ping);
    CHECK(first.pong().ends_with("pong"));
    Client second(server.path);
    second.send(ping);
    CHECK(second.pong().ends_with("pong"));  // accepted, so that nobody waits for what gets free
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    std::vector<int> taken;
    const rlimit few{64, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int each = ::dup(0); each >= 0; each = ::dup(0)) taken.push_back(each);
    REQUIRE(taken.size() > 1);
    ::close(taken.back());
    taken.pop_back();
    Client third(server.path);  // takes the last one: it can't be accepted
    REQUIRE(third.connected);
    third.send(ping);
    first.send(ping);  // a kept connection is served meanwhile
    CHECK(first.pong().ends_with("pong"));
    for (const int each : taken) ::close(each);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(third.pong().ends_with("pong"));
    server.stop();
    CHECK(server.log.said("warn: Cannot accept a connection error=Too many open files"));
    CHECK(std::count_if(server.log.lines.begin(), server.log.lines.end(), [](const auto& line) {
              return line.find("Cannot accept") != line.npos;
          }) == 1);
}

TEST_CASE("the socket is its owner's alone, and gone with the server") {
    Server server;
    CHECK(mode_of(server.path) == 0600);
    CHECK(mode_of(server.folder.path + "/run") == (::geteuid() == 0 ? 0755 : 0700));
    server.stop();
    CHECK_FALSE(std::filesystem::exists(server.path));
}

TEST_CASE("answers under way are given when the server stops, connections at rest are closed") {
    Server server;
    Client busy(server.path), resting(server.path);
    resting.send(ping);
    CHECK(resting.pong().ends_with("pong"));
    busy.send("GET /slow HTTP/1.1\r\n\r\n");
    server.wait_for(server.slow_inside, 1);
    server.release_slow();
    server.stop();
    const std::string text = busy.read_to_end();
    CHECK(text.ends_with("pong"));
    CHECK(resting.read_to_end() == "");
}

TEST_CASE("a hushed server accepts nobody, and who connects is answered when it resumes") {
    Server server;
    CHECK(server.hush(10s) < 5s);
    Client waiting(server.path);
    REQUIRE(waiting.connected);
    waiting.send(ping);
    CHECK_FALSE(waiting.comes_within(200));
    server.resume();
    CHECK(waiting.pong().ends_with("pong"));
    CHECK(server.hush(10s) < 5s);
    server.resume();
    CHECK(answer_to(server, "GET /ping HTTP/1.0\r\n\r\n").ends_with("pong"));
}

TEST_CASE("a server that hushes waits for young requests, not for those that take their time") {
    Server server;
    Client busy(server.path);
    busy.send("GET /slow HTTP/1.1\r\n\r\n");
    server.wait_for(server.slow_inside, 1);
    const auto patiently = server.hush(300ms);
    CHECK(patiently >= 300ms);
    CHECK(patiently < 5s);
    server.resume();
    CHECK(server.hush(300ms) < 250ms);  // by now it is no young one
    server.resume();
    server.release_slow();
    CHECK(busy.pong().ends_with("pong"));
}

TEST_CASE("a handler that never ends doesn't hold the server when it stops") {
    HttpLimits limits;
    limits.goodbye = 20ms;
    Server server(limits);
    Client busy(server.path);
    busy.send("GET /slow HTTP/1.1\r\n\r\n");
    server.wait_for(server.slow_inside, 1);
    server.stop();
    CHECK(busy.read_to_end() == "");
    CHECK(server.slow_finished == 0);
}

TEST_CASE("a stranger can't connect, and isn't heard if the mode is opened") {
    if (::geteuid() != 0) return;  // only root can become a stranger
    Server server;
    ::chmod(server.folder.path.c_str(), 0755);
    const auto as_nobody = [](auto act) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(::setuid(65534) == 0 && act() ? 0 : 1);
        int status = 0;
        ::waitpid(child, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    };
    CHECK(as_nobody([&server] {
        const Client client(server.path);
        return !client.connected && client.error == EACCES;
    }));
    ::chmod(server.path.c_str(), 0666);
    CHECK(as_nobody([&server] {
        Client client(server.path);
        if (!client.connected) return false;
        client.send(ping);
        const std::string text = client.read_to_end();
        return text.starts_with("HTTP/1.1 403 Forbidden\r\n") && text.find("pong") == text.npos;
    }));
    CHECK(answer_to(server, "GET /ping HTTP/1.0\r\n\r\n").ends_with("pong"));
}
