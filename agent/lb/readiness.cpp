#include "agent/lb/readiness.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <map>
#include <set>

#include "supervisor/await.hpp"

namespace lastcall {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Failure = ReadinessLoadBalancer::Failure;

constexpr std::size_t most_connections = 64;
constexpr std::uint32_t longest_header = 8192;
constexpr auto connection_time = 5s;

/// One path.
struct Path {
    TargetState state = TargetState::initial;
    Failure failure;
    bool probed_healthy = false;  ///< somebody has seen the 200
    unsigned failures = 0;        ///< answers since then that said no
    std::shared_ptr<Event> told;  ///< enough of them; whoever waits for it owns it too
};

struct Answer {
    http::status status;
    std::string body;
};

/// Everything that a coroutine on the listener touches. Each of them holds it, so that the client
/// can die before the last has noticed.
struct Listener : std::enable_shared_from_this<Listener> {
    Listener(std::string its_name, asio::any_io_executor its_executor, tcp::endpoint its_address,
             Log& its_log)
        : name(std::move(its_name)),
          executor(its_executor),
          address(its_address),
          log(&its_log),
          acceptor(executor),
          gate(executor) {}

    Path& path(const std::string& target) { return paths[target]; }
    void listen();
    void close();
    awaitable<void> accept();
    awaitable<void> serve(tcp::socket socket);
    Answer answer(http::verb method, std::string_view target);
    void answered(std::string_view target, http::status status);
    void failed(std::exception_ptr failure);

    std::string name;
    asio::any_io_executor executor;
    tcp::endpoint address;
    Log* log;  ///< null when the client has died
    tcp::acceptor acceptor;
    std::map<std::string, Path, std::less<>> paths;
    std::set<beast::tcp_stream*> open;
    Gate gate;
};

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

void Listener::listen() {
    if (acceptor.is_open()) return;
    error_code error;
    const auto check = [&](const char* doing) {
        if (!error) return;
        error_code ignored;
        acceptor.close(ignored);
        // An address in use, or one that isn't there yet, may come; a forbidden one won't.
        const bool forbidden = error == boost::system::errc::permission_denied;
        throw LoadBalancerError(
            fmt::format("cannot listen on {}: {}: {}", name, doing, error.message()), !forbidden);
    };
    const int fd = ::socket(address.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) error = error_code(errno, boost::system::system_category());
    check("socket");
    acceptor.assign(address.protocol(), fd, error);
    if (error) ::close(fd);
    check("socket");
    acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    check("SO_REUSEADDR");
    acceptor.bind(address, error);
    check("bind");
    acceptor.listen(asio::socket_base::max_listen_connections, error);
    check("listen");
    acceptor.non_blocking(true, error);
    check("O_NONBLOCK");
    gate.spawn(accept(),
               [self = shared_from_this()](std::exception_ptr error) { self->failed(error); });
}

/// Whoever is inside finds its socket closed, and leaves; the client doesn't wait for it.
void Listener::close() {
    log = nullptr;
    error_code ignored;
    acceptor.close(ignored);
    for (auto* stream : open) stream->close();
}

void Listener::failed(std::exception_ptr failure) {
    if (!log) return;
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& error) {  // a coroutine's end: there is nobody left to throw to
        log->say(Level::warn, "A readiness probe could not be answered",
                 {{"loadBalancer", name}, {"error", error.what()}});
    }
}

/// Accepts by hand: what Asio accepts would be inherited by the next task.
awaitable<void> Listener::accept() {
    const auto self = shared_from_this();
    asio::steady_timer pause(executor);
    for (;;) {
        co_await acceptor.async_wait(tcp::acceptor::wait_read, use_awaitable);
        const int fd =
            ::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            pause.expires_after(100ms);  // the connection stays readable: don't spin on it
            co_await pause.async_wait(use_awaitable);
        }
        if (fd < 0) continue;
        tcp::socket socket(executor);
        error_code error;
        socket.assign(address.protocol(), fd, error);
        if (error) ::close(fd);
        if (error || open.size() >= most_connections) continue;
        gate.spawn(serve(std::move(socket)), [self](std::exception_ptr) {});
    }
}

/// One request, one answer, and the end: a probe must not look like a client that stays.
awaitable<void> Listener::serve(tcp::socket socket) {
    const auto self = shared_from_this();
    beast::tcp_stream stream(std::move(socket));
    struct Registered {
        std::set<beast::tcp_stream*>& open;
        beast::tcp_stream* stream;
        ~Registered() { open.erase(stream); }
    };
    open.insert(&stream);
    const Registered registered{open, &stream};
    stream.expires_after(connection_time);

    beast::flat_buffer buffer(longest_header);
    http::request_parser<http::empty_body> parser;
    parser.header_limit(longest_header);
    error_code error;
    co_await http::async_read_header(stream, buffer, parser,
                                     asio::redirect_error(use_awaitable, error));
    if (error) co_return;  // no probe: a port scan, a half request, silence
    const auto& request = parser.get();
    const std::string target(request.target());
    const Answer said = answer(request.method(), target);

    http::response<http::string_body> response(said.status, request.version());
    response.set(http::field::content_type, "text/plain");
    response.set(http::field::cache_control, "no-store");
    if (said.status == http::status::method_not_allowed)
        response.set(http::field::allow, "GET, HEAD");
    response.body() = said.body;
    response.keep_alive(false);
    response.set(http::field::connection, "close");
    response.prepare_payload();
    http::response_serializer<http::string_body> serializer(response);
    if (request.method() == http::verb::head) {
        co_await http::async_write_header(stream, serializer,
                                          asio::redirect_error(use_awaitable, error));
    } else {
        co_await http::async_write(stream, serializer, asio::redirect_error(use_awaitable, error));
    }
    if (error) co_return;
    if (said.status != http::status::method_not_allowed) answered(path_of(target), said.status);
    stream.socket().shutdown(tcp::socket::shutdown_both, error);
}

Answer Listener::answer(http::verb method, std::string_view target) {
    const auto place = paths.find(path_of(target));
    if (place == paths.end()) return {http::status::not_found, "no such path\n"};
    if (method != http::verb::get && method != http::verb::head) {
        return {http::status::method_not_allowed, "expected GET or HEAD\n"};
    }
    const Path& path = place->second;
    switch (path.state) {
        case TargetState::healthy:
            return {http::status::ok, "ready\n"};
        case TargetState::draining:
            return {http::int_to_status(path.failure.status), "draining\n"};
        default:
            return {http::status::service_unavailable, "not ready yet\n"};
    }
}

/// The answer has left: what a probe has learnt counts.
void Listener::answered(std::string_view target, http::status status) {
    const auto place = paths.find(target);
    if (place == paths.end()) return;
    Path& path = place->second;
    if (path.state == TargetState::healthy && status == http::status::ok)
        path.probed_healthy = true;
    if (path.state == TargetState::draining && status != http::status::ok) {
        ++path.failures;
        if (path.told && path.failures >= path.failure.probes) path.told->set();
    }
}

class Readiness final : public ReadinessLoadBalancer {
 public:
    explicit Readiness(std::shared_ptr<Listener> listener) : listener_(std::move(listener)) {}
    ~Readiness() override { listener_->close(); }

    void failure(const std::string& target, Failure failure) override {
        listener_->path(target).failure = failure;
    }

    awaitable<void> register_target(const std::string& target) override {
        listener_->listen();
        Path& path = listener_->path(target);
        if (path.state == TargetState::healthy) co_return;
        if (path.told) path.told->set();  // a deregistration that is taken back waits for nothing
        path.told = std::make_shared<Event>(listener_->executor);
        path.probed_healthy = false;
        path.failures = 0;
        path.state = TargetState::healthy;
    }

    awaitable<void> deregister(const std::string& target) override {
        Path& path = listener_->path(target);
        path.state = TargetState::draining;
        const auto told = path.told;
        if (path.probed_healthy) co_await told->wait();
    }

    awaitable<TargetReport> state_of(const std::string& target) override {
        listener_->listen();
        TargetReport report;
        report.state = listener_->path(target).state;
        co_return report;
    }

 private:
    std::shared_ptr<Listener> listener_;
};

}  // namespace

std::shared_ptr<ReadinessLoadBalancer> readiness_load_balancer(std::string name,
                                                               asio::any_io_executor executor,
                                                               tcp::endpoint address, Log& log) {
    auto listener = std::make_shared<Listener>(std::move(name), std::move(executor), address, log);
    return std::make_shared<Readiness>(std::move(listener));
}

}  // namespace lastcall
