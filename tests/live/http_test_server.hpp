#pragma once
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <thread>

#include "agent/api/http_server.hpp"
#include "tests/unit/fakes.hpp"

// A control socket on a thread of its own, and clients that speak bytes to it.
namespace lastcall {

inline constexpr int patience = 10'000;  // ms: longer than anything here may take

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
    /// Whether anything comes within so many milliseconds.
    bool comes_within(int milliseconds) {
        pollfd ready{socket_, POLLIN, 0};
        return ::poll(&ready, 1, milliseconds) == 1;
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

inline constexpr std::string_view ping = "GET /ping HTTP/1.1\r\nHost: agent\r\n\r\n";

/// A server on a thread of its own, with a handler that knows /ping, /echo, /slow and /throw.
class Server {
 public:
    explicit Server(api::HttpLimits limits = {}) : slow_(io_.get_executor()) {
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
    /// Hushes the server; how long that took.
    Clock::duration hush(Clock::duration at_most) {
        std::promise<void> over;
        const auto began = clock_->now();
        asio::post(io_, [&] {
            asio::co_spawn(io_, server_->hush(at_most),
                           [&over](std::exception_ptr) { over.set_value(); });
        });
        over.get_future().wait();
        return clock_->now() - began;
    }
    void resume() {
        asio::post(io_, [this] { server_->resume(); });
    }
    /// Returns when it has come so far; the test's own time limit bounds it.
    static void wait_for(const std::atomic<int>& counter, int count) {
        while (counter < count) std::this_thread::yield();
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
    Event slow_;
    std::unique_ptr<Clock> clock_ = boot_clock(io_.get_executor());
    std::optional<api::HttpServer> server_;
    std::thread serving_;
};

inline std::string answer_to(const Server& server, std::string_view request) {
    Client client(server.path);
    client.send(request);
    return client.read_to_end();
}

inline std::size_t count(std::string_view text, std::string_view part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
    return found;
}

inline unsigned mode_of(const std::string& path) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777u : 0;
}

}  // namespace lastcall
