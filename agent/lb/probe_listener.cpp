#include "agent/lb/probe_listener.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <cerrno>
#include <utility>

#include "agent/inherited_listeners.hpp"
#include "supervisor/load_balancer.hpp"

namespace lastcall {

using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::size_t most_connections = 64;
constexpr auto connection_time = 5s;

awaitable<void> pass(Clock::duration time) {
    asio::steady_timer timer(co_await asio::this_coro::executor, time);
    co_await timer.async_wait(use_awaitable);
}

}  // namespace

ProbeListener::ProbeListener(std::string name, asio::any_io_executor executor,
                             tcp::endpoint address, Log& log, Answer answer)
    : name_(std::move(name)),
      executor_(std::move(executor)),
      address_(std::move(address)),
      log_(&log),
      answer_(std::move(answer)),
      acceptor_(executor_),
      gate_(executor_),
      inherited_(inherited_listener(address_.data(), static_cast<socklen_t>(address_.size()))) {}

ProbeListener::~ProbeListener() {
    if (inherited_ != -1) ::close(inherited_);
}

void ProbeListener::listen() {
    if (acceptor_.is_open()) return;
    error_code error;
    const auto check = [&](const char* doing) {
        if (!error) return;
        error_code ignored;
        acceptor_.close(ignored);
        // An address in use, or one that isn't there yet, may come; a forbidden one won't.
        const bool forbidden = error == boost::system::errc::permission_denied;
        throw LoadBalancerError(
            fmt::format("cannot listen on {}: {}: {}", name_, doing, error.message()), !forbidden);
    };
    const bool listens_already = inherited_ != -1;
    const int fd = listens_already
                       ? std::exchange(inherited_, -1)
                       : ::socket(address_.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) error = error_code(errno, boost::system::system_category());
    check("socket");
    acceptor_.assign(address_.protocol(), fd, error);
    if (error) ::close(fd);
    check("socket");
    if (!listens_already) {
        acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
        check("SO_REUSEADDR");
        acceptor_.bind(address_, error);
        check("bind");
        acceptor_.listen(asio::socket_base::max_listen_connections, error);
        check("listen");
    }
    acceptor_.non_blocking(true, error);
    check("O_NONBLOCK");
    gate_.spawn(accept(),
                [self = shared_from_this()](std::exception_ptr failure) { self->failed(failure); });
}

/// Whoever is inside finds its socket closed, and leaves. Not by `Gate::cancel`: Asio posts that if
/// it comes from outside `run`, and may then find the gate gone.
void ProbeListener::close() {
    log_ = nullptr;
    error_code ignored;
    acceptor_.close(ignored);
    if (inherited_ != -1) ::close(std::exchange(inherited_, -1));
    for (auto* socket : open_) socket->close(ignored);
}

void ProbeListener::failed(std::exception_ptr failure) {
    if (!log_) return;
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& error) {  // a coroutine's end: there is nobody left to throw to
        log_->say(Level::warn, "A readiness probe could not be answered",
                  {{"loadBalancer", name_}, {"error", error.what()}});
    }
}

/// Accepts by hand: what Asio accepts would be inherited by the next task.
awaitable<void> ProbeListener::accept() {
    const auto self = shared_from_this();
    for (;;) {
        co_await acceptor_.async_wait(tcp::acceptor::wait_read, use_awaitable);
        const int fd =
            ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            co_await pass(100ms);  // the connection stays readable: don't spin on it
        }
        if (fd < 0) continue;
        tcp::socket socket(executor_);
        error_code error;
        socket.assign(address_.protocol(), fd, error);
        if (error) ::close(fd);
        if (error || gate_.inside() > most_connections) continue;  // this loop is inside too
        gate_.spawn(attend(std::move(socket)), [self](std::exception_ptr) {});
    }
}

awaitable<void> ProbeListener::attend(tcp::socket socket) {
    const auto self = shared_from_this();
    if (!log_) co_return;
    struct Registered {
        std::set<tcp::socket*>& open;
        tcp::socket* socket;
        ~Registered() { open.erase(socket); }
    };
    open_.insert(&socket);
    const Registered registered{open_, &socket};
    co_await unless(pass(connection_time), done(answer_(socket)));
}

awaitable<bool> hang_up(tcp::socket& socket) {
    error_code error;
    socket.shutdown(tcp::socket::shutdown_send, error);
    std::array<char, 1024> ignored;
    const auto buffer = asio::buffer(ignored);
    while (!error) {
        co_await socket.async_read_some(buffer, asio::redirect_error(use_awaitable, error));
    }
    co_return error != asio::error::operation_aborted;
}

}  // namespace lastcall
