#include "agent/lb/readiness_http.hpp"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "agent/lb/probe_listener.hpp"

namespace lastcall {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::uint32_t longest_header = 8192;

using Response = http::response<http::string_body>;

void say(Response& response, const ReadinessTarget& target, TargetState state) {
    switch (state) {
        case TargetState::healthy:
            response.result(http::status::ok);
            response.body() = "ready\n";
            return;
        case TargetState::draining:
            response.result(target.failure.status);
            response.body() = "draining\n";
            return;
        default:
            response.result(http::status::service_unavailable);
            response.body() = "not ready yet\n";
    }
}

/// A probe must not look like a client that stays: every answer closes.
void finish(Response& response) {
    response.set(http::field::content_type, "text/plain");
    response.set(http::field::cache_control, "no-store");
    response.keep_alive(false);
    response.set(http::field::connection, "close");
    response.prepare_payload();
}

}  // namespace

awaitable<void> answer_http_probe(std::shared_ptr<ReadinessTargets> targets, tcp::socket& socket) {
    beast::flat_buffer buffer(longest_header);
    http::request_parser<http::empty_body> parser;
    parser.header_limit(longest_header);
    error_code error;
    co_await http::async_read_header(socket, buffer, parser,
                                     asio::redirect_error(use_awaitable, error));
    if (error) co_return;  // no probe: a port scan, a half request, silence
    const auto& request = parser.get();
    const std::string_view path(request.target().data(), request.target().size());
    const auto place = targets->find(path.substr(0, path.find('?')));
    const bool head = request.method() == http::verb::head;

    Response response(http::status::not_found, request.version());
    std::optional<ReadinessTarget::Word> word;
    if (place == targets->end()) {
        response.body() = "no such path\n";
    } else if (!head && request.method() != http::verb::get) {
        response.result(http::status::method_not_allowed);
        response.set(http::field::allow, "GET, HEAD");
        response.body() = "expected GET or HEAD\n";
    } else {
        word = place->second.ask(ProbeKind::http);
        say(response, place->second, word->state);
    }
    finish(response);
    http::response_serializer<http::string_body> serializer(response);
    if (head) {
        co_await http::async_write_header(socket, serializer,
                                          asio::redirect_error(use_awaitable, error));
    } else {
        co_await http::async_write(socket, serializer, asio::redirect_error(use_awaitable, error));
    }
    if (error) co_return;
    if (word) place->second.heard(ProbeKind::http, *word);
    co_await hang_up(socket);
}

}  // namespace lastcall
