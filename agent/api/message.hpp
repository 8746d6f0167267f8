#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What goes between the HTTP server and the routes, so that neither knows the other.
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

/// "Not Found" for 404 (RFC 9110, section 15); "Unknown" for what we never say.
std::string_view reason_of(unsigned status);

/// An error as RFC 9457 writes it: `detail` is one line for a human.
Response problem(unsigned status, std::string detail);

}  // namespace lastcall::api
