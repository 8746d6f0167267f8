#include "cli/client.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstdlib>

#include "agent/api/types.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {
namespace {

namespace http = boost::beast::http;
using asio::use_awaitable;
using boost::system::error_code;
using Answer = http::response<http::string_body>;

constexpr std::uint64_t largest_answer = 256 << 20;  // a long history, not a runaway
constexpr timeval patience = {.tv_sec = 10, .tv_usec = 0};

/// The agent's own words, if it had some.
[[noreturn]] void refuse(const Answer& answer) {
    json::value problem;
    std::string text;
    try {
        problem = api::parse(answer.body());
        for (const char* key : {"detail", "title"}) {
            const json::value* words =
                problem.is_object() ? problem.get_object().if_contains(key) : nullptr;
            if (text.empty() && words && words->is_string()) text = words->get_string();
        }
    } catch (const api::Malformed&) {  // an error without JSON is still an error
    }
    if (text.empty()) {
        text = fmt::format("the agent answered {} {}", answer.result_int(),
                           std::string_view(answer.reason()));
    }
    throw Refused(text, answer.result_int(), std::move(problem));
}

json::value understood(const Answer& answer) {
    if (http::to_status_class(answer.result()) != http::status_class::successful) refuse(answer);
    if (answer.body().empty()) return nullptr;
    try {
        return api::parse(answer.body());
    } catch (const api::Malformed& error) {
        throw std::runtime_error(
            fmt::format("cannot understand the agent's answer: {}", error.what()));
    }
}

}  // namespace

class Client::Impl {
 public:
    Impl(asio::any_io_executor executor, std::string path)
        : socket(std::move(executor)), path_(std::move(path)) {}

    /// Connecting to a unix socket is done at once, or never: no need to wait asynchronously. (Nor
    /// a way: with a full backlog the kernel says EAGAIN, and nothing tells when there is room.)
    void connect() {
        error_code error;
        socket.close(error);
        buffer.clear();
        socket.open(asio::local::stream_protocol(), error);
        if (!error) {
            ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &patience,
                         sizeof patience);
            connect_to(path_, error);
        }
        if (!error) return;
        socket.close();
        if (error == asio::error::access_denied || error == asio::error::no_permission) {
            throw std::runtime_error(
                fmt::format("cannot open the agent's socket '{}': permission denied (only its "
                            "owner and root may)",
                            path_));
        }
        if (error == asio::error::try_again || error == asio::error::would_block) {
            throw std::runtime_error(fmt::format(
                "cannot reach the agent at '{}': it does not accept connections", path_));
        }
        throw NoAgent(
            fmt::format("cannot reach an agent at '{}': {}; start one with `agent serve`, or "
                        "name its socket with --socket or AGENT_SOCKET",
                        path_, error.message()));
    }

    /// One request and its answer; `error` says what the connection came to.
    asio::awaitable<Answer> exchange(http::request<http::string_body>& request, error_code& error) {
        http::response_parser<http::string_body> parser;
        parser.body_limit(largest_answer);
        buffer.reserve(8192);  // most answers in one read
        error_code unsent;
        co_await http::async_write(socket, request, asio::redirect_error(use_awaitable, unsent));
        // Read even so: who refuses a request half-read has said why.
        co_await http::async_read(socket, buffer, parser,
                                  asio::redirect_error(use_awaitable, error));
        if (unsent && error) error = unsent;
        co_return parser.release();
    }

    [[noreturn]] void lost(const error_code& error) const {
        const bool is_http = error.category() == error_code(http::error::bad_version).category();
        if (error == http::error::end_of_stream || error == asio::error::broken_pipe ||
            error == asio::error::connection_reset || error == asio::error::eof) {
            throw Lost(fmt::format(
                "lost the agent at '{}': it closed the connection before it answered", path_));
        }
        if (error == http::error::partial_message) {
            throw Lost(fmt::format("lost the agent at '{}': its answer broke off", path_));
        }
        if (is_http) {
            throw std::runtime_error(
                fmt::format("cannot understand what answers at '{}': {}; is it an agent?", path_,
                            error.message()));
        }
        throw Lost(fmt::format("lost the agent at '{}': {}", path_, error.message()));
    }

    asio::local::stream_protocol::socket socket;
    boost::beast::flat_buffer buffer;

 private:
    void connect_to(const std::string& path, error_code& error) {
        if (path.size() >= sizeof(sockaddr_un::sun_path)) {
            error = asio::error::name_too_long;
        } else {
            socket.connect(asio::local::stream_protocol::endpoint(path), error);
        }
    }

    std::string path_;
};

Client::Client(asio::any_io_executor executor, std::string socket)
    : impl_(std::make_unique<Impl>(std::move(executor), std::move(socket))) {}
Client::~Client() = default;

asio::awaitable<json::value> Client::call(std::string method, std::string target,
                                          std::optional<json::value> body) {
    http::request<http::string_body> request(http::string_to_verb(method), target, 11);
    request.set(http::field::host, "agent");
    request.set(http::field::user_agent, "agentctl/" LASTCALL_VERSION);
    if (body) {
        request.set(http::field::content_type, "application/json");
        request.body() = api::to_text(*body);
    }
    request.prepare_payload();

    const bool reused = impl_->socket.is_open();
    if (!reused) impl_->connect();
    error_code error;
    Answer answer = co_await impl_->exchange(request, error);
    // The agent may have closed an idle connection; asking again is safe if nothing is changed.
    if (error && reused && method == "GET") {
        impl_->connect();
        answer = co_await impl_->exchange(request, error);
    }
    if (error || !answer.keep_alive()) {
        error_code ignored;
        impl_->socket.close(ignored);
    }
    if (error) impl_->lost(error);
    co_return understood(answer);
}

json::value call(const std::string& socket, const std::string& method, const std::string& target,
                 std::optional<json::value> body, std::chrono::milliseconds limit) {
    asio::io_context io(1);
    Client client(io.get_executor(), socket);
    std::exception_ptr failure;
    std::optional<json::value> answer;
    asio::co_spawn(io, client.call(method, target, std::move(body)),
                   [&](std::exception_ptr error, json::value value) {
                       failure = error;
                       answer = std::move(value);
                   });
    io.run_for(limit);
    if (failure) std::rethrow_exception(failure);
    if (answer) return std::move(*answer);
    throw std::runtime_error(fmt::format("the agent at '{}' has not answered within {}", socket,
                                         duration(static_cast<double>(limit.count()))));
}

std::string task_path(std::string_view task, std::string_view rest) {
    std::string path = "/v1/tasks/";
    for (const char letter : task) {
        const bool plain = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                           (letter >= '0' && letter <= '9') || letter == '-' || letter == '_' ||
                           (letter == '.' && task != "." && task != "..");
        path += plain ? std::string(1, letter)
                      : fmt::format("%{:02X}", static_cast<unsigned char>(letter));
    }
    return path.append(rest);
}

std::string default_socket() {
    const auto variable = [](const char* name) -> std::string {
        const char* value = std::getenv(name);
        return value ? value : "";
    };
    if (std::string named = variable("AGENT_SOCKET"); !named.empty()) return named;
    const std::string runtime = variable("XDG_RUNTIME_DIR");
    if (::getuid() != 0 && !runtime.empty()) return runtime + "/lastcall/agent.sock";
    return "/run/lastcall/agent.sock";
}

}  // namespace lastcall::cli
