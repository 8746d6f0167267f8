#include "agent/api/http_server.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <list>
#include <set>

#include "agent/api/listener.hpp"
#include "agent/api/wire.hpp"

namespace lastcall::api {
namespace {

using boost::system::error_code;
using Socket = asio::local::stream_protocol::socket;
using Acceptor = asio::local::stream_protocol::acceptor;

/// Who is there, or nobody if the kernel won't say.
std::optional<Peer> peer_of(Socket& socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    const int result =
        ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size);
    if (result != 0) return std::nullopt;
    return Peer{credentials.uid, credentials.pid};
}

/// Reads what comes next; false at the end of the stream.
awaitable<bool> read_more(Socket& socket, RequestReader& reader) {
    std::array<char, 8192> bytes;
    error_code error;
    const std::size_t size = co_await socket.async_read_some(
        asio::buffer(bytes), asio::redirect_error(use_awaitable, error));
    if (error == asio::error::eof) co_return false;
    if (error) throw boost::system::system_error(error);
    reader.add({bytes.data(), size});
    co_return true;
}

awaitable<void> discard(Socket& socket) {
    std::array<char, 8192> rubbish;
    error_code error;
    while (!error) {
        co_await socket.async_read_some(asio::buffer(rubbish),
                                        asio::redirect_error(use_awaitable, error));
    }
}

}  // namespace

class HttpServer::Impl {
 public:
    Impl(asio::any_io_executor executor, Clock& clock, Log& log, std::string path, Handler handler,
         HttpLimits limits)
        : clock_(clock),
          log_(log),
          executor_(executor),
          listener_(executor, std::move(path)),
          handler_(std::move(handler)),
          limits_(limits),
          sessions_(executor),
          resumed_(executor),
          answered_(executor) {}

    awaitable<void> hush(Clock::duration at_most) {
        hushed_ = true;
        listener_.acceptor().cancel();
        const auto deadline = after(clock_.now(), at_most);
        for (bool waited = true; waited && is_busy(at_most);) {
            auto answer = done(answered_.next());
            const auto next = co_await before(clock_, deadline, std::move(answer));
            waited = next.has_value();
        }
    }

    void resume() {
        hushed_ = false;
        resumed_.beat();
    }

    awaitable<void> serve() {
        std::exception_ptr failure;
        try {
            co_await accept_all();
        } catch (...) {  // whatever it is, the sessions must leave first
            failure = std::current_exception();
        }
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        ending_ = true;
        for (Socket* each : resting_) each->cancel();
        const auto goodbye = clock_.now() + limits_.goodbye;
        const auto left = co_await before(clock_, goodbye, done(sessions_.close()));
        if (!left) {
            sessions_.cancel();
            co_await sessions_.close();
        }
        std::rethrow_exception(failure);
    }

 private:
    awaitable<void> accept_all() {
        bool said = false;
        for (;;) {
            if (hushed_) co_await resumed_.next();
            error_code error;
            co_await listener_.acceptor().async_wait(Acceptor::wait_read,
                                                     asio::redirect_error(use_awaitable, error));
            if (error == asio::error::operation_aborted && hushed_) continue;
            if (error) throw boost::system::system_error(error);
            // By hand: what Asio accepts would be inherited by a new image of the agent, and held
            // open by it for ever.
            const int accepted = ::accept4(listener_.acceptor().native_handle(), nullptr, nullptr,
                                           SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (accepted >= 0) {
                said = false;
                admit(Socket(executor_, asio::local::stream_protocol(), accepted));
                continue;
            }
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) continue;
            error = error_code(errno, boost::system::system_category());
            // No descriptor or no memory: the connection stays in the backlog.
            if (!said) {
                log_.say(Level::warn, "Cannot accept a connection", {{"error", error.message()}});
            }
            said = true;
            co_await clock_.sleep_until(clock_.now() + 100ms);
        }
    }

    void admit(Socket socket) {
        const auto peer = peer_of(socket);
        if (!peer || (peer->uid != ::geteuid() && peer->uid != 0)) {
            return turn_away(socket, problem(403, "only root and the agent's own user may ask"));
        }
        if (sessions_.inside() >= limits_.connections) {
            if (resting_.empty()) {
                return turn_away(socket, problem(503, fmt::format("{} requests are being served",
                                                                  limits_.connections)));
            }
            resting_.front()->cancel();
            resting_.pop_front();
        }
        sessions_.spawn(converse(std::move(socket), *peer), [this](std::exception_ptr error) {
            try {
                std::rethrow_exception(error);
            } catch (const boost::system::system_error&) {  // the peer went away
            } catch (const std::exception& failure) {
                log_.say(Level::error, "A connection failed", {{"error", failure.what()}});
            }
        });
    }

    /// Says why and closes, without waiting for anything.
    void turn_away(Socket& socket, const Response& response) {
        error_code error;
        socket.non_blocking(true, error);
        const std::string text = text_of(response, false, false);
        socket.write_some(asio::buffer(text), error);
    }

    awaitable<void> converse(Socket socket, Peer peer) {
        RequestReader reader(limits_.header, limits_.body);
        for (bool keep_alive = true; keep_alive && !ending_;) {
            if (reader.empty()) {
                const bool more = co_await rest(socket, reader);
                if (!more) co_return;
            }
            const auto deadline = after(clock_.now(), limits_.request);
            auto receiving = receive(socket, reader);
            auto incoming = co_await before(clock_, deadline, std::move(receiving));
            if (!incoming) {
                incoming.emplace();
                incoming->refusal = problem(408, "the request wasn't complete in time");
            }
            incoming->request.peer = peer;
            const bool refused = incoming->refusal.has_value();
            keep_alive = co_await reply(socket, std::move(*incoming));
            if (refused) co_await linger(socket);
        }
    }

    /// Waits for the next request's first bytes; false if none will come.
    awaitable<bool> rest(Socket& socket, RequestReader& reader) {
        resting_.push_back(&socket);
        std::optional<bool> came;
        try {
            const auto deadline = after(clock_.now(), limits_.rest);
            auto reading = read_more(socket, reader);
            came = co_await before(clock_, deadline, std::move(reading));
        } catch (const boost::system::system_error&) {  // gone, or it had to make room
        }
        resting_.remove(&socket);
        co_return came.value_or(false);
    }

    awaitable<Incoming> receive(Socket& socket, RequestReader& reader) {
        for (;;) {
            auto incoming = reader.next();
            if (incoming) co_return std::move(*incoming);
            if (reader.wants_continue()) co_await go_ahead(socket);
            const bool more = co_await read_more(socket, reader);
            if (more) continue;
            incoming.emplace();
            incoming->refusal = problem(400, "the request ended too early");
            co_return std::move(*incoming);
        }
    }

    /// Answers; returns whether the connection goes on.
    awaitable<bool> reply(Socket& socket, Incoming incoming) {
        std::string asked = "what can't be read";
        bool keep_alive = false;
        Response response;
        if (incoming.refusal) {
            response = std::move(*incoming.refusal);
        } else {
            asked = incoming.request.method + " " + incoming.request.path;
            const Mark mark(handling_, clock_.now(), answered_);
            response = co_await handle(std::move(incoming.request));
            keep_alive = incoming.keep_alive && !ending_;
        }
        log_.say(Level::debug, "Answering",
                 {{"request", asked}, {"status", std::to_string(response.status)}});
        const std::string text = text_of(response, keep_alive, incoming.head);
        const Mark mark(writing_, clock_.now(), answered_);
        co_await write(socket, text);
        co_return keep_alive;
    }

    awaitable<Response> handle(Request request) {
        std::string failure;
        try {
            Response response = co_await handler_(std::move(request));
            co_return response;
        } catch (const std::exception& error) {
            failure = error.what();
        }
        co_return problem(500, failure);
    }

    awaitable<void> go_ahead(Socket& socket) {
        const std::string text = "HTTP/1.1 100 Continue\r\n\r\n";
        co_await write(socket, text);
    }

    awaitable<void> write(Socket& socket, const std::string& text) {
        const auto deadline = after(clock_.now(), limits_.answer);
        auto writing = write_all(socket, text);
        const auto written = co_await before(clock_, deadline, std::move(writing));
        if (!written) throw boost::system::system_error(asio::error::timed_out);
    }

    static awaitable<bool> write_all(Socket& socket, const std::string& text) {
        co_await asio::async_write(socket, asio::buffer(text), use_awaitable);
        co_return true;
    }

    /// A peer that still writes would lose our last answer to a reset: what it says is read, for a
    /// moment, and thrown away.
    awaitable<void> linger(Socket& socket) {
        error_code error;
        socket.shutdown(Socket::shutdown_send, error);
        const auto deadline = after(clock_.now(), limits_.goodbye);
        auto discarding = done(discard(socket));
        co_await before(clock_, deadline, std::move(discarding));
    }

    using Moments = std::multiset<Clock::time_point>;

    /// Something began, and has ended when this is gone.
    class Mark {
     public:
        Mark(Moments& among, Clock::time_point at, Pulse& ended)
            : among_(among), place_(among.insert(at)), ended_(ended) {}
        ~Mark() {
            among_.erase(place_);
            ended_.beat();
        }
        Mark(const Mark&) = delete;
        Mark& operator=(const Mark&) = delete;

     private:
        Moments& among_;
        Moments::iterator place_;
        Pulse& ended_;
    };

    /// Who has waited longer than that waits for something that takes its time, a stop.
    bool is_busy(Clock::duration young) const {
        if (!writing_.empty()) return true;
        return !handling_.empty() && clock_.now() - *handling_.rbegin() < young;
    }

    Clock& clock_;
    Log& log_;
    asio::any_io_executor executor_;
    Listener listener_;
    Handler handler_;
    HttpLimits limits_;
    Gate sessions_;
    std::list<Socket*> resting_;  ///< between two requests, longest first
    bool ending_ = false;
    bool hushed_ = false;
    Pulse resumed_, answered_;
    Moments handling_, writing_;  ///< when they began
};

HttpServer::HttpServer(asio::any_io_executor executor, Clock& clock, Log& log, std::string path,
                       Handler handler, HttpLimits limits)
    : impl_(std::make_unique<Impl>(std::move(executor), clock, log, std::move(path),
                                   std::move(handler), limits)) {}

HttpServer::~HttpServer() = default;

awaitable<void> HttpServer::serve() { return impl_->serve(); }

awaitable<void> HttpServer::hush(Clock::duration at_most) { return impl_->hush(at_most); }

void HttpServer::resume() { impl_->resume(); }

}  // namespace lastcall::api
