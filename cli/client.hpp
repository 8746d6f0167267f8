#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace lastcall::cli {

namespace asio = boost::asio;
namespace json = boost::json;

/// Nobody listens at the socket: exit 4.
class NoAgent : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// The connection broke before the answer was whole: the agent may have done what was asked, or
/// not, and may be there again soon.
class Lost : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// The agent answered with an error: the text is its problem's `detail` (RFC 9457).
class Refused : public std::runtime_error {
 public:
    Refused(const std::string& text, unsigned status, json::value problem)
        : std::runtime_error(text), status_(status), problem_(std::move(problem)) {}
    unsigned status() const { return status_; }
    const json::value& problem() const { return problem_; }  ///< null, if it was no JSON

 private:
    unsigned status_;
    json::value problem_;
};

/// The agent's control API over one connection to its unix socket: made by the first call, kept for
/// the next ones, made again if the agent has closed it. One call at a time.
class Client {
 public:
    Client(asio::any_io_executor executor, std::string socket);
    ~Client();

    /// The answer's JSON (null if it has none). `target` is percent-encoded already (`task_path`).
    /// Throws NoAgent; Lost; Refused for any status but 2xx; std::runtime_error for a socket we may
    /// not open, an answer that is no HTTP or no JSON.
    asio::awaitable<json::value> call(std::string method, std::string target,
                                      std::optional<json::value> body = std::nullopt);

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// One call, waited for here, for `limit` at most (then std::runtime_error).
json::value call(const std::string& socket, const std::string& method, const std::string& target,
                 std::optional<json::value> body = std::nullopt,
                 std::chrono::milliseconds limit = std::chrono::seconds(30));

/// "/v1/tasks/web/stop" for "web" and "/stop": whatever the name holds, it stays one segment.
std::string task_path(std::string_view task, std::string_view rest = "");

/// The socket, if none is named: AGENT_SOCKET, else the place where an agent of this user listens
/// (DESIGN section 5).
std::string default_socket();

}  // namespace lastcall::cli
