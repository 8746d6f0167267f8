#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "agent/api/message.hpp"
#include "supervisor/await.hpp"
#include "supervisor/log.hpp"

namespace lastcall::api {

/// What the HTTP server puts up with.
struct HttpLimits {
    std::size_t header = 16 << 10;    ///< bytes of request line and header fields
    std::size_t body = 1 << 20;       ///< bytes
    std::size_t connections = 256;    ///< at once; one at rest makes room for a new one
    Clock::duration request = 10s;    ///< from a request's first byte to its last
    Clock::duration answer = 10s;     ///< until the peer has taken an answer
    Clock::duration rest = 60s;       ///< of a connection between two requests
    Clock::duration goodbye = 500ms;  ///< for answers under way when `serve` is cancelled
};

/// Answers HTTP/1.1 on a unix socket; knows nothing of tasks. A peer that is neither the socket's
/// owner nor root is refused (403); what is no HTTP, too large or too slow is answered with a
/// problem (RFC 9457) and closed. What `handle` throws is a 500. HEAD is GET without the body. A
/// peer that goes away while `handle` works cancels nothing.
class HttpServer {
 public:
    using Handler = std::function<awaitable<Response>(Request)>;

    /// Binds `path` (mode 0600, its directory made if it is missing); replaces a socket that a dead
    /// agent left. Throws std::runtime_error: "cannot listen on '…': another agent (pid 7) is".
    HttpServer(asio::any_io_executor executor, Clock& clock, Log& log, std::string path,
               Handler handler, HttpLimits limits = {});
    /// Unlinks the socket, if it is still ours. `serve` must have returned.
    ~HttpServer();
    /// Serves until cancelled.
    awaitable<void> serve();
    /// Accepts nobody from now on: who connects waits in the backlog. Returns when the answers
    /// under way are sent, and the requests that came within the last `at_most` answered; after
    /// `at_most` in any case. For who is about to hand the socket over.
    awaitable<void> hush(Clock::duration at_most);
    /// Takes that back.
    void resume();

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace lastcall::api
