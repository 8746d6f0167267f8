#pragma once
#include <boost/asio/local/stream_protocol.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/await.hpp"
#include "supervisor/log.hpp"

namespace lastcall::api {

/// Who is at the other end of the socket (SO_PEERCRED, unix(7)).
struct Peer {
    std::uint32_t uid = 0;
    std::int32_t pid = 0;
};

struct Request {
    std::string method;  ///< "GET"
    std::string path;    ///< "/v1/tasks/web", percent-decoding not yet done
    std::string query;   ///< "wait=false"
    std::string body;
    Peer peer;
};

struct Response {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string body;
    std::vector<std::pair<std::string, std::string>> headers;
};

/// Answers HTTP/1.1 on a unix socket; knows nothing of tasks. A peer that is neither the socket's
/// owner nor root is refused (403); what is no HTTP, too large (1 MiB) or too slow (10 s for a
/// whole request) is answered with a problem (RFC 9457) and closed. What `handle` throws is a 500.
class HttpServer {
 public:
    using Handler = std::function<awaitable<Response>(Request)>;

    /// Binds `path` (mode 0600, its directory made if it is missing); replaces a socket that a dead
    /// agent left. Throws std::runtime_error: "cannot listen on '…': another agent (pid 7) is".
    HttpServer(asio::any_io_executor executor, Clock& clock, Log& log, std::string path,
               Handler handler);
    ~HttpServer();  ///< unlinks the socket
    /// Serves until cancelled.
    awaitable<void> serve();

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace lastcall::api
