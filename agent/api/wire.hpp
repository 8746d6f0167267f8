#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/api/message.hpp"

// HTTP/1.1 as bytes (RFC 9112): requests in, answers out. No input or output of its own.
namespace lastcall::api {

/// One request as it came, or what to answer instead; after a refusal the connection is of no use.
struct Incoming {
    Request request;  ///< without its peer
    bool head = false;
    bool keep_alive = false;
    std::optional<Response> refusal;
};

/// Makes requests of one connection's bytes.
class RequestReader {
 public:
    RequestReader(std::size_t header_limit, std::size_t body_limit);
    ~RequestReader();
    RequestReader(RequestReader&&) noexcept;

    void add(std::string_view bytes);
    /// The next request, or nothing while bytes are missing.
    std::optional<Incoming> next();
    /// Whether the peer waits for "100 Continue" before it sends the rest; true once a request.
    bool wants_continue();
    /// Whether nothing of a further request has come.
    bool empty() const;

 private:
    struct State;
    std::unique_ptr<State> state_;
};

/// `head`: without the body.
std::string text_of(const Response& response, bool keep_alive, bool head);

}  // namespace lastcall::api
