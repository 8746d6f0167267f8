// A bounded HTTP/1.1 client that counts honestly. One line of JSON at the end.
//
//   load --url http://127.0.0.1:8080/ [--connections 20] [--seconds 10 | --requests N] [--rate R]
//        [--keep-alive] [--slow-share 0.05 --slow-path /delay/2000] [--timeout MS] [--ids PREFIX]
//        [--journal FILE]
//
// A keep-alive connection that the server closed before we sent a request on it is opened again;
// one that closes after a request was sent, before its whole answer, is a failure. SIGTERM and
// SIGINT end it early: what is in flight is finished and counted.
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "tests/witness.hpp"

namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using Moment = std::chrono::steady_clock::time_point;

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

struct Orders {
    tcp::endpoint server;
    std::string path = "/", slow_path = "/delay/2000", ids, journal;
    int connections = 20;
    double seconds = 10, rate = 0, slow_share = 0;
    std::int64_t requests = 0;
    bool keep_alive = false;
    milliseconds timeout{15000};
};

enum class Result { ok, refused, reset, status, timeout };

struct Counts {
    std::int64_t requests = 0, ok = 0, refused = 0, reset = 0, status = 0, timeout = 0,
                 connects = 0;
    std::vector<double> milliseconds_taken;

    void add(Result result, double ms) {
        ++requests;
        switch (result) {
            case Result::ok:
                ++ok;
                milliseconds_taken.push_back(ms);
                break;
            case Result::refused:
                ++refused;
                break;
            case Result::reset:
                ++reset;
                break;
            case Result::status:
                ++status;
                break;
            case Result::timeout:
                ++timeout;
                break;
        }
    }

    double percentile(double share) {
        if (milliseconds_taken.empty()) return 0;
        const auto nth =
            static_cast<std::size_t>(share * static_cast<double>(milliseconds_taken.size() - 1));
        std::nth_element(milliseconds_taken.begin(),
                         milliseconds_taken.begin() + static_cast<std::ptrdiff_t>(nth),
                         milliseconds_taken.end());
        return milliseconds_taken[nth];
    }
};

const char* name_of(Result result) {
    switch (result) {
        case Result::ok:
            return "ok";
        case Result::refused:
            return "refused";
        case Result::reset:
            return "reset";
        case Result::status:
            return "status";
        case Result::timeout:
            return "timeout";
    }
    return "?";
}

class Load {
 public:
    Load(asio::io_context& io, const Orders& orders)
        : io_(io),
          orders_(orders),
          started_(std::chrono::steady_clock::now()),
          signals_(io),
          journal_(orders.journal) {
        signals_.add(SIGTERM);
        signals_.add(SIGINT);
        signals_.async_wait([this](error_code error, int) {
            if (!error) stopping_ = true;
        });
    }

    void start() {
        working_ = orders_.connections;
        for (int i = 0; i < orders_.connections; ++i) {
            asio::co_spawn(io_, work(), [this](std::exception_ptr error) {
                if (error) std::rethrow_exception(error);
                if (--working_ == 0) signals_.cancel();
            });
        }
    }

    std::string report() {
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
        const auto& c = counts_;
        return fmt::format(
            "{{\"requests\":{},\"ok\":{},\"failed\":{},\"refused\":{},\"reset\":{},\"status\":{},"
            "\"timeout\":{},\"connects\":{},\"seconds\":{:.3f},\"p50Ms\":{:.3f},\"p99Ms\":{:.3f},"
            "\"maxMs\":{:.3f}}}",
            c.requests, c.ok, c.requests - c.ok, c.refused, c.reset, c.status, c.timeout,
            c.connects, seconds, counts_.percentile(0.5), counts_.percentile(0.99),
            counts_.percentile(1));
    }

 private:
    /// The number of the next request, when its time has come; nothing when there is no more.
    awaitable<std::optional<std::int64_t>> ticket() {
        if (orders_.requests > 0 && issued_ >= orders_.requests) co_return std::nullopt;
        const std::int64_t number = issued_++;
        const double due = orders_.rate > 0 ? static_cast<double>(number) / orders_.rate : 0;
        while (!over()) {
            const auto left = started_ +
                              std::chrono::duration_cast<std::chrono::nanoseconds>(
                                  std::chrono::duration<double>(due)) -
                              std::chrono::steady_clock::now();
            if (left <= left.zero()) co_return number;
            // In short steps, so that an early end is an early end.
            asio::steady_timer timer(io_,
                                     std::min<std::chrono::nanoseconds>(left, milliseconds(50)));
            co_await timer.async_wait(asio::use_awaitable);
        }
        co_return std::nullopt;
    }

    bool over() const {
        const auto spent = std::chrono::steady_clock::now() - started_;
        return stopping_ ||
               (orders_.requests == 0 && spent >= std::chrono::duration<double>(orders_.seconds));
    }

    static bool closed_by_server(tcp::socket& socket) {
        char byte;
        const ssize_t n = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
    }

    awaitable<void> work() {
        tcp::socket socket(io_);
        for (;;) {
            const auto number = co_await ticket();
            if (!number) co_return;
            const std::int64_t sent = boot_microseconds();
            const Moment begin = std::chrono::steady_clock::now();
            // The one thing that bounds an exchange: closing its socket under it.
            bool late = false;
            asio::steady_timer limit(io_, orders_.timeout);
            limit.async_wait([&late, &socket](error_code error) {
                if (error) return;
                late = true;
                socket.close(error);
            });
            Result result = co_await exchange(socket, *number);
            limit.cancel();
            if (late) result = Result::timeout;
            if (result != Result::ok || !orders_.keep_alive) {
                error_code ignored;
                socket.close(ignored);
            }
            const std::chrono::duration<double, std::milli> taken =
                std::chrono::steady_clock::now() - begin;
            counts_.add(result, taken.count());
            note(*number, sent, result);
        }
    }

    awaitable<Result> exchange(tcp::socket& socket, std::int64_t number) {
        if (socket.is_open() && closed_by_server(socket)) socket.close();
        if (!socket.is_open()) {
            ++counts_.connects;
            const auto [error] = co_await socket.async_connect(orders_.server, quietly);
            if (error) co_return Result::refused;
            socket.set_option(tcp::no_delay(true));
        }
        const double n = static_cast<double>(number);
        const bool slow =
            std::int64_t((n + 1) * orders_.slow_share) > std::int64_t(n * orders_.slow_share);
        const std::string request = fmt::format(
            "GET {} HTTP/1.1\r\nHost: {}\r\nX-Request-Id: {}{}\r\n{}\r\n",
            slow ? orders_.slow_path : orders_.path, orders_.server.address().to_string(),
            orders_.ids, number, orders_.keep_alive ? "" : "Connection: close\r\n");
        const auto [error, size] =
            co_await asio::async_write(socket, asio::buffer(request), quietly);
        if (error) co_return Result::reset;
        const Result result = co_await response(socket);
        co_return result;
    }

    static awaitable<Result> response(tcp::socket& socket) {
        std::string buffer;
        const auto [error, size] = co_await asio::async_read_until(
            socket, asio::dynamic_buffer(buffer), "\r\n\r\n", quietly);
        if (error) co_return Result::reset;
        std::string head = buffer.substr(0, size);
        buffer.erase(0, size);
        std::transform(head.begin(), head.end(), head.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        const bool good = head.size() > 12 && head[9] == '2';
        const bool last = head.find("\r\nconnection: close") != head.npos;
        bool whole = true;
        if (head.find("\r\ntransfer-encoding: chunked") != head.npos) {
            const auto [cut, n] = co_await asio::async_read_until(
                socket, asio::dynamic_buffer(buffer), "0\r\n\r\n", quietly);
            whole = !cut;
        } else {
            const auto at = head.find("\r\ncontent-length: ");
            const std::size_t length = at == head.npos ? 0 : std::stoul(head.substr(at + 18));
            if (buffer.size() < length) {
                const auto [cut, n] = co_await asio::async_read(
                    socket, asio::dynamic_buffer(buffer),
                    asio::transfer_exactly(length - buffer.size()), quietly);
                whole = !cut;
            }
        }
        if (!whole) co_return Result::reset;
        if (last) socket.close();
        co_return good ? Result::ok : Result::status;
    }

    void note(std::int64_t number, std::int64_t sent, Result result) {
        journal_.write("result", fmt::format("\"id\":\"{}{}\",\"sent\":{},\"result\":\"{}\"",
                                             orders_.ids, number, sent, name_of(result)));
    }

    asio::io_context& io_;
    const Orders& orders_;
    Moment started_;
    asio::signal_set signals_;
    Witness journal_;
    Counts counts_;
    std::int64_t issued_ = 0;
    int working_ = 0;
    bool stopping_ = false;
};

/// "http://127.0.0.1:8080/path", "http://[::1]:8080"
void set_url(Orders& orders, const std::string& url) {
    if (!url.starts_with("http://"))
        throw std::invalid_argument("'" + url + "' isn't http://HOST:PORT");
    const auto slash = url.find('/', 7);
    const std::string authority = url.substr(7, slash == url.npos ? url.npos : slash - 7);
    if (slash != url.npos) orders.path = url.substr(slash);
    const auto colon = authority.rfind(':');
    std::string host = authority.substr(0, colon);
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    orders.server = {asio::ip::make_address(host),
                     static_cast<std::uint16_t>(std::stoi(authority.substr(colon + 1)))};
}

const std::map<std::string, std::function<void(Orders&, const std::string&)>> options = {
    {"--url", set_url},
    {"--connections", [](Orders& o, auto& value) { o.connections = std::stoi(value); }},
    {"--seconds", [](Orders& o, auto& value) { o.seconds = std::stod(value); }},
    {"--requests", [](Orders& o, auto& value) { o.requests = std::stoll(value); }},
    {"--rate", [](Orders& o, auto& value) { o.rate = std::stod(value); }},
    {"--slow-share", [](Orders& o, auto& value) { o.slow_share = std::stod(value); }},
    {"--slow-path", [](Orders& o, auto& value) { o.slow_path = value; }},
    {"--timeout", [](Orders& o, auto& value) { o.timeout = milliseconds(std::stoi(value)); }},
    {"--ids", [](Orders& o, auto& value) { o.ids = value; }},
    {"--journal", [](Orders& o, auto& value) { o.journal = value; }},
};

Orders orders_from(const std::vector<std::string>& words) {
    Orders orders;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto option = options.find(words[i]);
        if (words[i] == "--keep-alive") {
            orders.keep_alive = true;
        } else if (option != options.end() && i + 1 < words.size()) {
            option->second(orders, words[++i]);
        } else {
            throw std::invalid_argument("'" + words[i] +
                                        "' is no option of load, or lacks its value");
        }
    }
    if (orders.server.port() == 0) throw std::invalid_argument("--url http://HOST:PORT is needed");
    return orders;
}

}  // namespace

int main(int argc, char** argv) try {
    const Orders orders = orders_from({argv + 1, argv + argc});
    asio::io_context io(1);
    Load load(io, orders);
    load.start();
    io.run();
    fmt::print("{}\n", load.report());
} catch (const std::exception& error) {
    fmt::print(stderr, "load: {}\n", error.what());
    return 2;
}
