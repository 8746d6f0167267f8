#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <string>

#include "supervisor/await.hpp"

namespace lastcall {

using asio::ip::tcp;

inline tcp::endpoint loopback(std::uint16_t port) {
    return {asio::ip::address_v4::loopback(), port};
}

/// A port that nobody listens on just now.
inline std::uint16_t free_port(asio::io_context& io) {
    tcp::acceptor acceptor(io, loopback(0));
    return acceptor.local_endpoint().port();
}

/// A small HTTP service in the test's own thread. It keeps connections alive, holds requests for
/// "/hold" until `release`, and answers "/check" as it is told.
class Backend {
 public:
    struct State {
        State(asio::io_context& io, std::string its_name)
            : name(std::move(its_name)), acceptor(io, loopback(0)) {}
        std::string name;
        tcp::acceptor acceptor;
        std::shared_ptr<Event> released;
        int check = 200;
        int requests = 0;  ///< but for checks
        int held = 0;
        int connections = 0;  ///< open, but for those that only checked
    };

    Backend(asio::io_context& io, std::string name)
        : state_(std::make_shared<State>(io, std::move(name))) {
        state_->released = std::make_shared<Event>(io.get_executor());
        asio::co_spawn(io, accept(state_), [](std::exception_ptr) {});
    }
    ~Backend() {
        release();
        state_->acceptor.close();
    }
    std::uint16_t port() const { return state_->acceptor.local_endpoint().port(); }
    const State& state() const { return *state_; }
    void check(int status) { state_->check = status; }
    /// Everybody who is held may go.
    void release() {
        state_->released->set();
        state_->released = std::make_shared<Event>(state_->acceptor.get_executor());
    }

 private:
    static awaitable<void> accept(std::shared_ptr<State> state) {
        for (;;) {
            tcp::socket socket = co_await state->acceptor.async_accept(use_awaitable);
            const auto executor = co_await asio::this_coro::executor;
            asio::co_spawn(executor, serve(state, std::move(socket)), [](std::exception_ptr) {});
        }
    }

    static awaitable<void> serve(std::shared_ptr<State> state, tcp::socket socket) {
        struct Open {
            std::shared_ptr<State> state;
            bool counted = false;
            ~Open() { state->connections -= counted ? 1 : 0; }
        } open{state};
        std::string input;
        for (;;) {
            auto buffer = asio::dynamic_buffer(input);
            const std::size_t length =
                co_await asio::async_read_until(socket, buffer, "\r\n\r\n", use_awaitable);
            const std::string request = input.substr(0, length);
            input.erase(0, length);
            int status = 200;
            if (request.find(" /check ") != std::string::npos) {
                status = state->check;
            } else {
                if (!open.counted) ++state->connections;
                open.counted = true;
                ++state->requests;
            }
            if (request.find(" /hold ") != std::string::npos) {
                ++state->held;
                const auto released = state->released;
                co_await released->wait();
                --state->held;
            }
            const std::string answer =
                "HTTP/1.1 " + std::to_string(status) +
                " X\r\nContent-Length: " + std::to_string(state->name.size()) + "\r\n\r\n" +
                state->name;
            const auto bytes = asio::buffer(answer);
            co_await asio::async_write(socket, bytes, use_awaitable);
            if (request.find("Connection: close") != std::string::npos) co_return;
        }
    }

    std::shared_ptr<State> state_;
};

/// One request on a connection of its own: the whole answer, as it came.
inline awaitable<std::string> get(std::uint16_t port, std::string path, std::string header = "") {
    tcp::socket socket(co_await asio::this_coro::executor);
    co_await socket.async_connect(loopback(port), use_awaitable);
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n" + header + "\r\n";
    const auto bytes = asio::buffer(request);
    co_await asio::async_write(socket, bytes, use_awaitable);
    std::string answer;
    auto buffer = asio::dynamic_buffer(answer);
    boost::system::error_code error;
    co_await asio::async_read(socket, buffer, asio::redirect_error(use_awaitable, error));
    if (error != asio::error::eof) throw boost::system::system_error(error);
    co_return answer;
}

/// "200" of an answer.
inline std::string status_of(const std::string& answer) {
    return answer.size() < 12 ? "" : answer.substr(9, 3);
}

}  // namespace lastcall
