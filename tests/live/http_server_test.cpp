#include "agent/api/http_server.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "agent/api/listener.hpp"
#include "tests/unit/fakes.hpp"

using namespace lastcall;
using api::HttpLimits;
using api::HttpServer;

namespace {

constexpr int patience = 10'000;  // ms: longer than anything here may take

struct Folder {
    Folder() {
        char name[] = "/tmp/lastcall-http-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string path;
};

/// A client that speaks bytes.
class Client {
 public:
    explicit Client(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int result =
            ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address);
        connected = result == 0;
        error = errno;
    }
    ~Client() { close(); }
    Client(Client&& other) noexcept
        : connected(other.connected), socket_(std::exchange(other.socket_, -1)) {}

    bool connected = false;
    int error = 0;

    /// What couldn't be sent is missing in the returned count.
    std::size_t send(std::string_view text) {
        std::size_t sent = 0;
        while (sent < text.size()) {
            const auto size = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (size <= 0) break;
            sent += static_cast<std::size_t>(size);
        }
        return sent;
    }
    /// All that comes until `enough` is in it, or the end.
    std::string read_until(std::string_view enough) {
        while (text_.find(enough) == text_.npos && read_some()) {
        }
        return std::exchange(text_, {});
    }
    std::string read_to_end() {
        while (read_some()) {
        }
        return std::exchange(text_, {});
    }
    /// One answer with "pong" as its body.
    std::string pong() { return read_until("pong"); }
    void close() {
        if (socket_ >= 0) ::close(std::exchange(socket_, -1));
    }
    /// Waits until the other side has closed, without reading.
    bool is_hung_up() {
        pollfd hung{socket_, 0, 0};
        return ::poll(&hung, 1, patience) == 1 && (hung.revents & POLLHUP);
    }
    void finish_writing() { ::shutdown(socket_, SHUT_WR); }

 private:
    bool read_some() {
        pollfd ready{socket_, POLLIN, 0};
        if (::poll(&ready, 1, patience) != 1) return false;
        char bytes[4096];
        const auto size = ::recv(socket_, bytes, sizeof bytes, 0);
        if (size > 0) text_.append(bytes, static_cast<std::size_t>(size));
        return size > 0;
    }
    int socket_ = -1;
    std::string text_;
};

constexpr std::string_view ping = "GET /ping HTTP/1.1\r\nHost: agent\r\n\r\n";

/// A server on a thread of its own, with a handler that knows /ping, /echo, /slow and /throw.
class Server {
 public:
    explicit Server(HttpLimits limits = {}) : stop_(io_), slow_(io_.get_executor()) {
        server_.emplace(
            io_.get_executor(), *clock_, log, path,
            [this](api::Request request) { return handle(std::move(request)); }, limits);
        asio::post(io_, [this] { start(); });
        serving_ = std::thread([this] { io_.run(); });
    }
    ~Server() { stop(); }
    void stop() {
        if (!serving_.joinable()) return;
        asio::post(io_, [this] { cancel_.emit(asio::cancellation_type::terminal); });
        serving_.join();
        server_.reset();
    }
    void release_slow() {
        asio::post(io_, [this] { slow_.set(); });
    }
    /// Returns when so many requests for /slow are inside.
    void wait_for_slow(int count) {
        while (slow_inside < count) std::this_thread::yield();
    }

    Folder folder;
    std::string path = folder.path + "/run/agent.sock";
    FakeLog log;  ///< to be read when it has stopped
    std::atomic<int> slow_inside = 0, slow_finished = 0;

 private:
    /// In the loop: a coroutine that is cancelled before its first step would end the program.
    void start() {
        asio::co_spawn(io_, server_->serve(),
                       asio::bind_cancellation_slot(cancel_.slot(), [](std::exception_ptr) {}));
    }
    awaitable<api::Response> handle(api::Request request) {
        api::Response response;
        response.content_type = "text/plain";
        if (request.path == "/throw") throw std::runtime_error("cannot do it: no way");
        if (request.path == "/slow") {
            ++slow_inside;
            co_await slow_.wait();
            ++slow_finished;
        }
        if (request.path == "/echo") {
            response.body =
                fmt::format("{} {}?{} uid {} pid {}: {}", request.method, request.path,
                            request.query, request.peer.uid, request.peer.pid, request.body);
        } else {
            response.body = "pong";
        }
        co_return response;
    }

    asio::io_context io_{1};
    asio::cancellation_signal cancel_;
    asio::steady_timer stop_;
    Event slow_;
    std::unique_ptr<Clock> clock_ = boot_clock(io_.get_executor());
    std::optional<HttpServer> server_;
    std::thread serving_;
};

std::string answer_to(const Server& server, std::string_view request) {
    Client client(server.path);
    client.send(request);
    return client.read_to_end();
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
    return found;
}

unsigned mode_of(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777u : 0;
}

std::string refusal_of_listening_on(const std::string& path) {
    asio::io_context io(1);
    try {
        api::Listener listener(io.get_executor(), path);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "none";
}

}  // namespace

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

TEST_CASE("HEAD, HTTP/1.0, chunks, an absolute target and 100-continue are understood") {
    Server server;
    const std::string head = answer_to(server, "HEAD /ping HTTP/1.1\r\nConnection: close\r\n\r\n");
    CHECK(head.find("Content-Length: 4\r\n") != head.npos);
    CHECK(head.ends_with("\r\n\r\n"));
    CHECK(answer_to(server, "GET /ping HTTP/1.0\r\n\r\n").ends_with("pong"));
    CHECK(answer_to(server,
                    "PUT http://agent/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
                    "Connection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
              .ends_with(": abcde"));
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

TEST_CASE("a body up to the limit is taken, one beyond it is refused, announced or not") {
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
    std::string chunks = "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 40; ++i) chunks += "10000\r\n" + std::string(0x10000, 'y') + "\r\n";
    CHECK(answer_to(server, chunks).starts_with("HTTP/1.1 413 "));
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
        server.wait_for_slow(1);
    }
    Client other(server.path);
    other.send(ping);
    CHECK(other.pong().ends_with("pong"));
    CHECK(server.slow_finished == 0);
    server.release_slow();
    other.send(ping);
    CHECK(other.pong().ends_with("pong"));
    CHECK(server.slow_finished == 1);
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
    server.wait_for_slow(3);
    CHECK(answer_to(server, ping).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    server.release_slow();
    for (Client& each : clients) CHECK(each.pong().ends_with("pong"));
}

TEST_CASE("without a free descriptor the server waits and then goes on") {
    Server server;
    Client first(server.path);
    first.send(ping);
    CHECK(first.pong().ends_with("pong"));
    Client second(server.path);  // accepted before the limit falls, or after it rises again
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

TEST_CASE("the mode is right from the first moment, whatever the umask") {
    Folder folder;
    const mode_t before = ::umask(0);
    asio::io_context io(1);
    {
        api::Listener listener(io.get_executor(), folder.path + "/a.sock");
        CHECK(mode_of(folder.path + "/a.sock") == 0600);
    }
    ::umask(before);
}

TEST_CASE("answers under way are given when the server stops, connections at rest are closed") {
    Server server;
    Client busy(server.path), resting(server.path);
    resting.send(ping);
    CHECK(resting.pong().ends_with("pong"));
    busy.send("GET /slow HTTP/1.1\r\n\r\n");
    server.wait_for_slow(1);
    server.release_slow();
    server.stop();
    const std::string text = busy.read_to_end();
    CHECK(text.ends_with("pong"));
    CHECK(resting.read_to_end() == "");
}

TEST_CASE("a handler that never ends doesn't hold the server when it stops") {
    HttpLimits limits;
    limits.goodbye = 20ms;
    Server server(limits);
    Client busy(server.path);
    busy.send("GET /slow HTTP/1.1\r\n\r\n");
    server.wait_for_slow(1);
    server.stop();
    CHECK(busy.read_to_end() == "");
    CHECK(server.slow_finished == 0);
}

TEST_CASE("a second server on the same path is refused, with the pid of the first") {
    Server server;
    CHECK(refusal_of_listening_on(server.path) ==
          fmt::format("cannot listen on '{}': another agent (pid {}) is", server.path, ::getpid()));
    CHECK(answer_to(server, "GET /ping HTTP/1.0\r\n\r\n").ends_with("pong"));
}

TEST_CASE("a dead agent's socket is replaced, and a stranger's file is not") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    const pid_t child = ::fork();
    if (child == 0) {
        asio::io_context io(1);
        api::Listener listener(io.get_executor(), path);
        ::_exit(0);  // as if killed: nothing is unlinked
    }
    ::waitpid(child, nullptr, 0);
    REQUIRE(std::filesystem::is_socket(path));
    CHECK(refusal_of_listening_on(path) == "none");
    CHECK_FALSE(std::filesystem::exists(path));
    ::close(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK(refusal_of_listening_on(path) ==
          fmt::format("cannot listen on '{}': something that is no socket is there", path));
    CHECK(std::filesystem::exists(path));
}

TEST_CASE("a socket that somebody else has bound meanwhile is not unlinked") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    asio::io_context io(1);
    std::optional<api::Listener> old(std::in_place, io.get_executor(), path);
    std::filesystem::remove(path);
    api::Listener replacement(io.get_executor(), path);
    old.reset();
    CHECK(std::filesystem::is_socket(path));
}

TEST_CASE("a path that can't be is refused with its reason") {
    Folder folder;
    CHECK(refusal_of_listening_on("") == "cannot listen on '': the path is empty");
    CHECK(refusal_of_listening_on(folder.path + "/" + std::string(200, 'x'))
              .ends_with(": the path is longer than 107 bytes"));
    CHECK(refusal_of_listening_on("/proc/nothing/agent.sock") ==
          "cannot listen on '/proc/nothing/agent.sock': cannot make '/proc/nothing': "
          "No such file or directory");
    CHECK(refusal_of_listening_on("/dev/null/agent.sock").find("/dev/null") != std::string::npos);
}

TEST_CASE("of many agents that start at once on a dead one's socket, one gets it") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    int start[2], hold[2];
    REQUIRE(::pipe(start) == 0);
    REQUIRE(::pipe(hold) == 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(start[1]);
            ::close(hold[1]);
            char byte;
            if (::read(start[0], &byte, 1) != 0) ::_exit(2);  // the pipe's end is the start
            asio::io_context io(1);
            try {
                api::Listener listener(io.get_executor(), path);
                if (::read(hold[0], &byte, 1) != 0) ::_exit(2);
                ::_exit(std::filesystem::is_socket(path) ? 0 : 3);
            } catch (const std::runtime_error&) {
                ::_exit(1);
            }
        }
        children.push_back(child);
    }
    ::close(start[0]);
    ::close(start[1]);
    int losers = 0, winners = 0;
    for (std::size_t i = 0; i + 1 < children.size(); ++i) {
        int status = 0;
        ::waitpid(-1, &status, 0);
        losers += WIFEXITED(status) && WEXITSTATUS(status) == 1;
    }
    ::close(hold[0]);
    ::close(hold[1]);
    int status = 0;
    ::waitpid(-1, &status, 0);
    winners += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    CHECK(losers == 7);
    CHECK(winners == 1);
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
