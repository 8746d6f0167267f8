#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "supervisor/clock.hpp"

namespace lastcall::aws {

struct HttpRequest {
    std::string method = "GET";
    std::string url;
    std::vector<std::string> headers;  ///< "Name: value"
    std::string body;
    Clock::duration connect_timeout = 3s;
    Clock::duration timeout = 10s;  ///< of the whole exchange
    bool proxied = true;            ///< by the environment's proxy, if it names one
};

struct HttpResponse {
    unsigned status = 0;
    std::string body;
    std::string date;      ///< the header, as it came; empty: none
    std::string location;  ///< of a redirect, which nobody follows
};

/// No response came: `what()` says why and names the host.
class HttpError : public std::runtime_error {
 public:
    HttpError(const std::string& text, bool retry) : std::runtime_error(text), retry_(retry) {}
    bool retry() const { return retry_; }

 private:
    bool retry_;
};

/// The way to the network. An interface, because throttling, a wrong clock and a day of expiring
/// credentials are tested without one.
class Http {
 public:
    virtual ~Http() = default;
    /// One exchange. Redirects are not followed, certificates are verified, a response is at most
    /// 8 MiB. Throws HttpError; may be cancelled.
    virtual awaitable<HttpResponse> send(HttpRequest request) = 0;
};

/// libcurl's. `certificates`: a file of authorities (AWS_CA_BUNDLE); empty: the machine's own.
std::unique_ptr<Http> curl_http(asio::any_io_executor executor, const std::string& certificates);

}  // namespace lastcall::aws
