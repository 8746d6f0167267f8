#include "agent/api/wire.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace lastcall::api {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Parser = http::request_parser<http::string_body>;

/// Whether a request could still begin like this: Beast looks only when the whole header is there,
/// and who speaks something else would be left waiting for the time limit.
bool may_be_http(std::string_view text) {
    const auto is_letter = [](char c) { return c >= 'A' && c <= 'Z'; };
    const auto after_method = std::find_if_not(text.begin(), text.end(), is_letter);
    const std::size_t method = static_cast<std::size_t>(after_method - text.begin());
    if (method == text.size()) return method < 32;
    if (method == 0 || text[method] != ' ') return false;
    const std::size_t end = text.find('\n');
    return end == text.npos || text.substr(0, end).find(" HTTP/1.") != text.npos;
}

Incoming incoming_from(Parser& parser) {
    Incoming incoming;
    incoming.keep_alive = parser.keep_alive();
    auto message = parser.release();
    incoming.head = message.method() == http::verb::head;
    std::string_view target(message.target().data(), message.target().size());
    if (target.starts_with("http://")) {  // absolute-form (RFC 9112, section 3.2.2)
        const auto slash = target.find('/', 7);
        target = slash == target.npos ? "/" : target.substr(slash);
    }
    const auto mark = target.find('?');
    Request& request = incoming.request;
    request.method = incoming.head ? "GET" : std::string(message.method_string());
    request.path = target.substr(0, mark);
    request.query = mark == target.npos ? "" : target.substr(mark + 1);
    request.body = std::move(message.body());
    return incoming;
}

}  // namespace

struct RequestReader::State {
    std::size_t header_limit;
    std::size_t body_limit;
    beast::flat_buffer buffer{};
    std::optional<Parser> parser{};
    bool began = false;  ///< the parser has taken the request line
    bool continued = false;

    Incoming refused(const error_code& error) const {
        Incoming incoming;
        if (error == http::error::header_limit || error == http::error::buffer_overflow) {
            incoming.refusal =
                problem(431, fmt::format("the header is longer than {} bytes", header_limit));
        } else if (error == http::error::body_limit) {
            incoming.refusal =
                problem(413, fmt::format("the body is longer than {} bytes", body_limit));
        } else if (error == http::error::bad_chunk) {
            incoming.refusal =
                problem(411, "a body must come with its Content-Length, not chunked");
        } else {
            incoming.refusal =
                problem(400, fmt::format("cannot read the request: {}", error.message()));
        }
        return incoming;
    }

    /// Gives the parser all that it can use.
    error_code feed() {
        while (buffer.size() > 0 && !parser->is_done()) {
            const auto data = buffer.data();
            const std::string_view text(static_cast<const char*>(data.data()), data.size());
            if (!began && !may_be_http(text)) return http::error::bad_version;
            error_code error;
            const std::size_t used = parser->put(data, error);
            buffer.consume(used);
            began = began || used > 0;
            if (error == http::error::need_more) return {};
            if (error) return error;
            // Beast 1.81 asserts what a chunked body that comes in small pieces doesn't keep.
            if (parser->is_header_done() && parser->chunked()) return http::error::bad_chunk;
            if (used == 0) return {};
        }
        return {};
    }
};

RequestReader::RequestReader(std::size_t header_limit, std::size_t body_limit)
    : state_(new State{header_limit, body_limit}) {}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;

void RequestReader::add(std::string_view bytes) {
    const auto space = state_->buffer.prepare(bytes.size());
    state_->buffer.commit(boost::asio::buffer_copy(space, boost::asio::buffer(bytes)));
}

std::optional<Incoming> RequestReader::next() {
    State& state = *state_;
    if (!state.parser) {
        if (state.buffer.size() == 0) return std::nullopt;
        state.parser.emplace();
        state.parser->header_limit(static_cast<std::uint32_t>(state.header_limit));
        state.parser->body_limit(state.body_limit);
        state.began = state.continued = false;
    }
    const error_code error = state.feed();
    if (error) return state.refused(error);
    if (!state.parser->is_done()) return std::nullopt;
    Incoming incoming = incoming_from(*state.parser);
    state.parser.reset();
    return incoming;
}

bool RequestReader::wants_continue() {
    State& state = *state_;
    if (!state.parser || !state.parser->is_header_done() || state.continued) return false;
    state.continued = true;
    return beast::iequals(state.parser->get()[http::field::expect], "100-continue");
}

bool RequestReader::empty() const { return !state_->parser && state_->buffer.size() == 0; }

std::string text_of(const Response& response, bool keep_alive, bool head) {
    std::string text =
        fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n", response.status,
                    reason_of(response.status), response.content_type, response.body.size());
    for (const auto& [name, value] : response.headers) {
        text += fmt::format("{}: {}\r\n", name, value);
    }
    text += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
    if (!head) text += response.body;
    return text;
}

}  // namespace lastcall::api
