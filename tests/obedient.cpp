// A small HTTP/1.1 service that behaves as it is told, well or badly: by its arguments, and by the
// paths that are asked for. Tests, demo and bench stop it in every way there is.
//
//   /          200 at once             /health     200, or 503 since --fail-check-on's signal
//   /delay/MS  200 after MS            /hold       never an answer
//   /stream/MS chunked, a byte each 50 ms for MS    /id/N    200, N is the request's id
//   /bytes/N   N bytes at once         /ws          a WebSocket that echoes
//
// It keeps connections alive until the client closes them or it exits: a bad citizen, on purpose.
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "tests/web_socket.hpp"
#include "tests/witness.hpp"

namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

struct Orders {
    std::vector<tcp::endpoint> listen;
    milliseconds listen_after{0};
    bool ignore_term = false;
    bool close_on_term = false;
    milliseconds exit_after_term{0};
    int exit_code = 0;
    int forks = 0;
    bool setsid_child = false;
    int fail_check_on = 0, goodbye_on = 0;
    std::string journal, haproxy_on_term;
};

/// HAProxy's answer to one line on its admin socket, waited for: what it thinks at this very
/// moment.
std::string ask_haproxy(const std::string& path, std::string_view line) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    // The SIGCONT that follows a stop signal must not cut the answer short.
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    std::string answer;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        ::send(fd, line.data(), line.size(), MSG_NOSIGNAL) > 0) {
        char part[4096];
        for (ssize_t n; (n = ::recv(fd, part, sizeof part, 0)) > 0;)
            answer.append(part, static_cast<std::size_t>(n));
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::close(fd);
    return answer;
}

class Service {
 public:
    Service(asio::io_context& io, Orders orders)
        : io_(io), orders_(std::move(orders)), journal_(orders_.journal), signals_(io) {
        for (const int number :
             {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT})
            signals_.add(number);
    }

    void start() {
        go(listen());
        go(obey_signals());
    }

 private:
    struct Connection {
        explicit Connection(tcp::socket accepted) : socket(std::move(accepted)) {}
        tcp::socket socket;
        bool busy = false;
    };

    void go(awaitable<void> work) {
        asio::co_spawn(io_, std::move(work), [](std::exception_ptr error) {
            if (error) std::rethrow_exception(error);
        });
    }

    awaitable<void> sleep(milliseconds delay) {
        asio::steady_timer timer(io_, delay);
        co_await timer.async_wait(asio::use_awaitable);
    }

    awaitable<void> listen() {
        co_await sleep(orders_.listen_after);
        for (const auto& endpoint : orders_.listen) {
            acceptors_.emplace_back(io_, endpoint);
            const unsigned port = acceptors_.back().local_endpoint().port();
            journal_.write("listening", fmt::format("\"port\":{}", port));
            fmt::print("listening {}\n", port);
        }
        for (auto& acceptor : acceptors_) go(accept(acceptor));
        fmt::print("ready\n");
        std::fflush(stdout);
    }

    awaitable<void> accept(tcp::acceptor& acceptor) {
        for (;;) {
            auto [error, socket] = co_await acceptor.async_accept(quietly);
            if (error) co_return;
            socket.set_option(tcp::no_delay(true));
            go(serve(std::move(socket)));
        }
    }

    awaitable<void> serve(tcp::socket socket) {
        Connection connection(std::move(socket));
        connections_.insert(&connection);
        co_await converse(connection);
        connections_.erase(&connection);
        if (leaving_ && orders_.close_on_term && connections_.empty()) leave();
    }

    /// Requests and answers until one side has had enough.
    awaitable<void> converse(Connection& connection) {
        std::string buffer;
        for (;;) {
            const auto [error, size] = co_await asio::async_read_until(
                connection.socket, asio::dynamic_buffer(buffer, 65536), "\r\n\r\n", quietly);
            if (error) co_return;
            connection.busy = true;
            const std::string head = buffer.substr(0, size);
            buffer.erase(0, size);
            if (head.starts_with("GET /ws ")) {
                co_await talk(connection, head, buffer);
                co_return;
            }
            const bool kept = co_await answer(connection, head);
            connection.busy = false;
            if (!kept || head.find("onnection: close") != head.npos) co_return;
        }
    }

    awaitable<void> talk(Connection& connection, std::string head, std::string rest) {
        journal_.write("request", "\"path\":\"/ws\"");
        co_await web_sockets_.talk(std::move(connection.socket), std::move(head), std::move(rest),
                                   [this](const std::string& message) {
                                       journal_.write("message",
                                                      fmt::format("\"text\":{}", quoted(message)));
                                   });
        journal_.write("closed", "\"path\":\"/ws\"");
    }

    static std::string request_id(const std::string& head, std::string_view path) {
        if (path.starts_with("/id/")) return std::string(path.substr(4));
        for (const std::string_view name : {"\r\nX-Request-Id: ", "\r\nx-request-id: "}) {
            const auto at = head.find(name);
            if (at == head.npos) continue;
            const auto begin = at + name.size();
            return head.substr(begin, head.find('\r', begin) - begin);
        }
        return "";
    }

    /// False when the connection is to be closed.
    awaitable<bool> answer(Connection& connection, std::string head) {
        const auto space = head.find(' ');
        const std::string path = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
        const std::string id = request_id(head, path);
        const std::string facts = fmt::format("\"path\":{},\"id\":{}", quoted(path), quoted(id));
        const bool check = path == "/health";
        if (!check) journal_.write("request", facts);
        std::string status = "200 OK", body = "ok\n";
        if (path.starts_with("/delay/")) co_await sleep(milliseconds(std::stoi(path.substr(7))));
        if (path.starts_with("/id/")) body = id + '\n';
        if (path.starts_with("/bytes/")) body.assign(std::stoul(path.substr(7)), '.');
        if (check && failing_) status = "503 Service Unavailable";
        const bool last = goodbye_ || (leaving_ && orders_.close_on_term);
        std::string reply = fmt::format("HTTP/1.1 {}\r\nX-Request-Id: {}\r\n{}", status, id,
                                        last ? "Connection: close\r\n" : "");
        if (path == "/hold") {
            char nothing[1];
            co_await connection.socket.async_read_some(asio::buffer(nothing), quietly);
            co_return false;
        }
        if (path.starts_with("/stream/")) {
            const milliseconds length(std::stoi(path.substr(8)));
            const bool whole = co_await stream(connection, std::move(reply), length);
            journal_.write("answer", facts);
            co_return whole && !last;
        }
        reply += fmt::format("Content-Length: {}\r\n\r\n{}", body.size(), body);
        const auto [error, size] =
            co_await asio::async_write(connection.socket, asio::buffer(reply), quietly);
        if (!check) journal_.write(error ? "cut" : "answer", facts);
        co_return !error && !last;
    }

    awaitable<bool> stream(Connection& connection, std::string head, milliseconds length) {
        head += "Transfer-Encoding: chunked\r\n\r\n";
        std::string next = head;
        for (milliseconds done{0};; done += milliseconds(50)) {
            if (done >= length) next += "0\r\n\r\n";
            const auto [error, size] =
                co_await asio::async_write(connection.socket, asio::buffer(next), quietly);
            if (error) co_return false;
            if (done >= length) co_return true;
            co_await sleep(milliseconds(50));
            next = "1\r\n.\r\n";
        }
    }

    awaitable<void> obey_signals() {
        for (;;) {
            const int number = co_await signals_.async_wait(asio::use_awaitable);
            journal_.write("signal", fmt::format("\"signal\":{}", number));
            if (number == orders_.fail_check_on) failing_ = true;
            if (number == orders_.goodbye_on) {
                goodbye_ = true;
                web_sockets_.say_goodbye();
            }
            if (number != SIGTERM && number != SIGINT && number != SIGQUIT) continue;
            if (!orders_.haproxy_on_term.empty())
                journal_.write("haproxy", fmt::format("\"answer\":{}",
                                                      quoted(ask_haproxy(orders_.haproxy_on_term,
                                                                         "show servers state; show "
                                                                         "stat\n"))));
            if (!orders_.ignore_term && !leaving_) go(depart());
        }
    }

    awaitable<void> depart() {
        leaving_ = true;
        if (orders_.close_on_term) {
            for (auto& acceptor : acceptors_) acceptor.close();
            for (auto* connection : connections_)
                if (!connection->busy) connection->socket.close();
            if (connections_.empty()) leave();
            if (orders_.exit_after_term == milliseconds(0)) co_return;  // the last client ends it
        }
        co_await sleep(orders_.exit_after_term);
        leave();
    }

    [[noreturn]] void leave() {
        journal_.write("exit", fmt::format("\"code\":{}", orders_.exit_code));
        std::fflush(stdout);
        ::_exit(orders_.exit_code);
    }

    asio::io_context& io_;
    Orders orders_;
    Witness journal_;
    asio::signal_set signals_;
    std::vector<tcp::acceptor> acceptors_;
    std::set<Connection*> connections_;
    WebSockets web_sockets_;
    bool failing_ = false, leaving_ = false, goodbye_ = false;
};

/// A descendant that nobody waits for and that ignores SIGTERM, from our first moment on. It
/// doesn't outlive a forgetful test.
void leave_behind(bool own_session) {
    int ready[2];
    if (::pipe(ready) != 0) throw std::runtime_error("cannot make a pipe");
    if (::fork() != 0) {
        ::close(ready[1]);
        char nothing = 0;
        [[maybe_unused]] const auto ended =
            ::read(ready[0], &nothing, 1);  // when it closes its end
        ::close(ready[0]);
        return;
    }
    if (own_session) ::setsid();
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::signal(number, SIG_IGN);
    ::close(ready[0]);
    ::close(ready[1]);
    ::alarm(120);
    for (;;) ::pause();
}

tcp::endpoint endpoint_from(const std::string& text) {
    const auto colon = text.rfind(':');
    std::string host = text.substr(0, colon);
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    return {asio::ip::make_address(host),
            static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1)))};
}

int signal_from(std::string name) {
    if (name.starts_with("SIG")) name = name.substr(3);
    if (name == "USR1") return SIGUSR1;
    if (name == "USR2") return SIGUSR2;
    if (name == "HUP") return SIGHUP;
    if (name == "TERM") return SIGTERM;
    if (name == "WINCH") return SIGWINCH;
    return std::stoi(name);
}

const std::map<std::string, std::function<void(Orders&)>> flags = {
    {"--ignore-term", [](Orders& orders) { orders.ignore_term = true; }},
    {"--close-on-term", [](Orders& orders) { orders.close_on_term = true; }},
    {"--setsid-child", [](Orders& orders) { orders.setsid_child = true; }},
};
const std::map<std::string, std::function<void(Orders&, const std::string&)>> options = {
    {"--listen", [](Orders& o, auto& value) { o.listen.push_back(endpoint_from(value)); }},
    {"--listen-after",
     [](Orders& o, auto& value) { o.listen_after = milliseconds(std::stoi(value)); }},
    {"--exit-after-term",
     [](Orders& o, auto& value) { o.exit_after_term = milliseconds(std::stoi(value)); }},
    {"--exit-code", [](Orders& o, auto& value) { o.exit_code = std::stoi(value); }},
    {"--fork", [](Orders& o, auto& value) { o.forks = std::stoi(value); }},
    {"--fail-check-on", [](Orders& o, auto& value) { o.fail_check_on = signal_from(value); }},
    {"--goodbye-on", [](Orders& o, auto& value) { o.goodbye_on = signal_from(value); }},
    {"--journal", [](Orders& o, auto& value) { o.journal = value; }},
    {"--haproxy-on-term", [](Orders& o, auto& value) { o.haproxy_on_term = value; }},
};

Orders orders_from(const std::vector<std::string>& words) {
    Orders orders;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto flag = flags.find(words[i]);
        const auto option = options.find(words[i]);
        if (flag != flags.end()) {
            flag->second(orders);
        } else if (option != options.end() && i + 1 < words.size()) {
            option->second(orders, words[++i]);
        } else {
            throw std::invalid_argument("'" + words[i] +
                                        "' is no option of obedient, or lacks its value");
        }
    }
    return orders;
}

}  // namespace

int main(int argc, char** argv) try {
    const Orders orders = orders_from({argv + 1, argv + argc});
    for (int i = 0; i < orders.forks; ++i) leave_behind(false);
    if (orders.setsid_child) leave_behind(true);
    asio::io_context io(1);
    Service service(io, orders);
    service.start();
    io.run();
} catch (const std::exception& error) {
    fmt::print(stderr, "obedient: {}\n", error.what());
    return 2;
}
